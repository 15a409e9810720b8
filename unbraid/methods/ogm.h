#pragma once

#include "unbraid/methods/epoch_window.h"
#include "unbraid/methods/method.h"

namespace unbraid {

struct OgmOptions {
  double alpha = 0.8;
  EpochWindow window{.starts = 0, .ends = 50};
  bool noise = false;      // OGM-GE
  bool conv_only = false;  // only gradients of four dimensions, as released
  GradientRoute base = GradientRoute::joint();
};

/// On-the-fly gradient modulation, OGM and OGM-GE (Peng, Wei, Deng, Wang & Hu, "Balanced Multimodal
/// Learning via On-the-fly Gradient Modulation", CVPR 2022). With s_m the mean probability that
/// modality m's share of the logits (shares_of_output) gives the true class, and rho_m the mean of
/// s_m / s_n over the other modalities n, the gradient of encoder m is multiplied by
///
///     k_m = 1 - tanh(alpha * rho_m) where rho_m > 1, else 1
///
/// and OGM-GE adds Gaussian noise to the gradients of every encoder, with the standard deviation
/// that each parameter's gradient had before. `alpha`: 0.8 (CREMA-D; 0.1 on VGGSound); in the
/// epochs `starts` to `ends`, counted from 0, both included (0, 50).
///
/// Departs from the released code: `parameters = "all"` of an encoder's, where the code takes those
/// of convolutions alone ("conv"); any fusion and any number of modalities from two, where the code
/// has concatenation and sum of two; means where it has sums, which is the same unless modalities
/// are missing; of equal scores neither is damped, where the code damps audio. The noise is the
/// code's: the paper's has the covariance of the gradient's own noise. `base = "dgl"` modulates
/// disentangled gradients instead of joint ones.
class Ogm : public Method {
 public:
  explicit Ogm(const OgmOptions& options) : options_(options) {}

  [[nodiscard]] std::string name() const override { return options_.noise ? "ogm-ge" : "ogm"; }
  [[nodiscard]] GradientRoute route() const override { return options_.base; }
  [[nodiscard]] bool accumulates() const override { return false; }
  RoutedResult backward(const TrainingStep& step) override;
  /// "k.<modality>".
  [[nodiscard]] std::map<std::string, double> choices() const override { return choices_; }

  /// k of each modality for its score s_m in (0, 1); NaN: it has none, and gets 1.
  static std::vector<double> coefficients(const std::vector<double>& scores, double alpha);

  static std::shared_ptr<Method> read(Options& options, const MethodContext& context);
  static std::shared_ptr<Method> read_ge(Options& options, const MethodContext& context);

 private:
  void modulate(torch::nn::Module& encoder, double k) const;

  OgmOptions options_;
  std::map<std::string, double> choices_;
};

}  // namespace unbraid
