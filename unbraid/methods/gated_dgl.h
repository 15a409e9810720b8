#pragma once

#include "unbraid/methods/method.h"

namespace unbraid {

/// Disentangled gradient learning that keeps the multimodal gradient where it agrees with the
/// unimodal one: encoder m learns from alpha * L_m, and from keep * L as well at steps where the
/// cosine of the two gradients at its feature, over the whole batch, exceeds `threshold`. The
/// fusion module learns from L. Ours. `alpha` (default 4) is above 0, `keep` (default 1) at least
/// 0, `threshold` (default 0) from -1 to 1.
class GatedDgl : public Method {
 public:
  GatedDgl(double alpha, double keep, double threshold)
      : alpha_(alpha), keep_(keep), threshold_(threshold) {}

  [[nodiscard]] std::string name() const override { return "gated-dgl"; }
  [[nodiscard]] GradientRoute route() const override;
  RoutedResult backward(const TrainingStep& step) override;
  /// "cosine.<modality>" and "kept.<modality>", 1 or 0.
  [[nodiscard]] std::map<std::string, double> choices() const override { return choices_; }

  static std::shared_ptr<Method> read(Options& options, const MethodContext& /*context*/) {
    return std::make_shared<GatedDgl>(options.number("alpha", 4.0, {.min = 0.0, .open_min = true}),
                                      options.number("keep", 1.0, {.min = 0.0}),
                                      options.number("threshold", 0.0, {.min = -1.0, .max = 1.0}));
  }

 private:
  double alpha_;
  double keep_;
  double threshold_;
  std::map<std::string, double> choices_;
};

}  // namespace unbraid
