#pragma once

#include "unbraid/methods/method.h"

namespace unbraid {

/// L + alpha * sum_m L_m, nothing cut: joint training with the unimodal losses of the same fusion
/// module beside it. `alpha` is at least 0, 1 by default: the "uniform" baseline of MMPareto (Wei &
/// Hu, ICML 2024), which has a head of its own for each modality. Any number of modalities.
class Auxiliary : public Method {
 public:
  explicit Auxiliary(double alpha) : alpha_(alpha) {}
  [[nodiscard]] std::string name() const override { return "auxiliary"; }
  [[nodiscard]] GradientRoute route() const override { return GradientRoute::auxiliary(alpha_); }

  static std::shared_ptr<Method> read(Options& options, const MethodContext& /*context*/) {
    return std::make_shared<Auxiliary>(options.number("alpha", 1.0, {.min = 0.0}));
  }

 private:
  double alpha_;
};

}  // namespace unbraid
