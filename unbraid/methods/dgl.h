#pragma once

#include "unbraid/methods/method.h"

namespace unbraid {

/// Disentangled gradient learning (Wei, Luo & Luo, "Boosting Multimodal Learning via Disentangled
/// Gradient Learning", ICCV 2025): encoder m learns from alpha * L_m alone, the fusion module from
/// L alone. `alpha` defaults to the reference code's 4; its scripts use 4 and 5 on CREMA-D, 2 and 3
/// on Kinetics-Sounds, 2 on VGGSound. Departs from the released code in cutting before the fusion's
/// first parameter (see GatedFusion). Any number of modalities, where the code has two.
class Dgl : public Method {
 public:
  explicit Dgl(double alpha) : alpha_(alpha) {}
  [[nodiscard]] std::string name() const override { return "dgl"; }
  [[nodiscard]] GradientRoute route() const override { return GradientRoute::dgl(alpha_); }

  static std::shared_ptr<Method> read(Options& options, const MethodContext& /*context*/) {
    return std::make_shared<Dgl>(options.number("alpha", 4.0, {.min = 0.0}));
  }

 private:
  double alpha_;
};

}  // namespace unbraid
