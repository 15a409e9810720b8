#pragma once

#include <algorithm>

#include "unbraid/methods/method.h"

namespace unbraid {

/// Disentangled gradient learning that keeps a fraction of the multimodal gradient: encoder m
/// learns from alpha * L_m + keep * L, the fusion module from L. Ours; DGL is keep = 0, and alpha =
/// 0 with keep = 1 is joint training. `keep` (default 0.5) goes linearly to `final_keep` (default
/// `keep`) over `anneal` epochs (default 0: it is constant).
class SoftDgl : public Method {
 public:
  SoftDgl(double alpha, double keep, double final_keep, int64_t anneal)
      : alpha_(alpha), keep_(keep), final_keep_(final_keep), anneal_(anneal) {}

  [[nodiscard]] std::string name() const override { return "soft-dgl"; }
  [[nodiscard]] GradientRoute route() const override { return route_in(1); }
  /// Epochs count from 1.
  [[nodiscard]] GradientRoute route_in(int64_t epoch) const {
    const double share =
        anneal_ == 0 ? 0.0
                     : std::min(1.0, static_cast<double>(epoch - 1) / static_cast<double>(anneal_));
    GradientRoute route = GradientRoute::dgl(alpha_);
    route.multimodal_to_encoder = keep_ + share * (final_keep_ - keep_);
    return route;
  }
  RoutedResult backward(const TrainingStep& step) override {
    return routed_backward(step, route_in(step.epoch));
  }

  static std::shared_ptr<Method> read(Options& options, const MethodContext& /*context*/) {
    const double alpha = options.number("alpha", 4.0, {.min = 0.0});
    const double keep = options.number("keep", 0.5, {.min = 0.0});
    const double final_keep = options.number("final_keep", keep, {.min = 0.0});
    const int64_t anneal = options.integer("anneal", 0, {.min = 0});
    if (final_keep != keep && anneal == 0) {
      throw options.error("anneal",
                          "expected the epochs over which keep becomes final_keep, got 0");
    }
    return std::make_shared<SoftDgl>(alpha, keep, final_keep, anneal);
  }

 private:
  double alpha_;
  double keep_;
  double final_keep_;
  int64_t anneal_;
};

}  // namespace unbraid
