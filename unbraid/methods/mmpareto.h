#pragma once

#include <array>

#include "unbraid/methods/method.h"

namespace unbraid {

/// MMPareto (Wei & Hu, "MMPareto: Boosting Multimodal Learning with Innocent Unimodal Assistance",
/// ICML 2024). Over the parameters of encoder m, let g_J be the gradient of the multimodal loss and
/// g_m that of its unimodal loss. Where their cosine is above 0 both weigh a half, otherwise k_J
/// and k_m = 1 - k_J are those of the shortest vector k_J g_J + k_m g_m; h is twice that vector.
/// Each parameter of the encoder learns from its part of
///
///     gamma * h * max(1, |g_J + g_m| / |h|)        the norms being of that parameter alone
///
/// and the fusion module from L + sum_m L_m. `gamma` 1.5, as released.
///
/// Departs from the released code: L_m is the loss of the same fusion module with the other
/// features absent, where the code has a head for each modality; three backward passes instead of
/// four; where h is zero, so is the gradient. Any task, fusion and number of modalities.
class MmPareto : public Method {
 public:
  explicit MmPareto(double gamma) : gamma_(gamma) {}

  [[nodiscard]] std::string name() const override { return "mmpareto"; }
  [[nodiscard]] GradientRoute route() const override { return GradientRoute::auxiliary(1.0); }
  RoutedResult backward(const TrainingStep& step) override;
  /// "cosine.<modality>" and "joint.<modality>", k_J.
  [[nodiscard]] std::map<std::string, double> choices() const override { return choices_; }

  /// k_J and k_m from <g_J, g_J>, <g_J, g_m> and <g_m, g_m>.
  static std::array<double, 2> weights(double joint, double product, double own);

  static std::shared_ptr<Method> read(Options& options, const MethodContext& context);

 private:
  void combine(const std::string& modality, torch::nn::Module& encoder,
               std::vector<torch::Tensor> joint, std::vector<torch::Tensor> own);

  double gamma_;
  std::map<std::string, double> choices_;
};

}  // namespace unbraid
