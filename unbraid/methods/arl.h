#pragma once

#include "unbraid/methods/method.h"

namespace unbraid {

struct ArlOptions {
  double temperature = 8;
  int64_t starts = 6;
  bool equal = false;                                    // every weight 1 / M
  GradientRoute before = GradientRoute::auxiliary(1.0);  // in earlier epochs
  GradientRoute base = GradientRoute::auxiliary(4.0);
};

/// Asymmetric representation learning (Wei, Luo & Luo, "Improving Multimodal Learning via
/// Imbalanced Learning", ICCV 2025): joint training with gamma times the unimodal losses, the
/// gradient of encoder m multiplied by 1 + a_m. With the shares c_m of the sum over classes of the
/// mean |z_m|, z_m the unimodal logits, and the shares H_m of their mean entropy,
///
///     w_m = (1 / max(H_m, 0.6 / M)) / sum_n (1 / max(H_n, 0.6 / M))
///     a   = softmax over m of T w_m (1 - c_m) / (M - 1)
///
/// For two modalities the last factor is the other one's share and the floor 0.3, as released. Up
/// to the epoch `starts` (6), counted from 0, a is 0 and gamma 1. `gamma` 4, `temperature` 8: the
/// authors' CREMA-D script; 5 and 4 on AVE, 3 and 4 on Kinetics-Sounds, 1 and 4 on VGGSound.
///
/// Departs from the released code, which stops before training, and which computes the weights but
/// then leaves them at a half: `weights = "equal"` does that. `base = "dgl"` re-weights
/// disentangled gradients, with `base_alpha` in place of gamma. Any fusion and number of
/// modalities from two; a step at which fewer than two modalities have samples keeps a = 0.
class Arl : public Method {
 public:
  explicit Arl(ArlOptions options) : options_(std::move(options)) {}

  [[nodiscard]] std::string name() const override { return "arl"; }
  [[nodiscard]] GradientRoute route() const override { return options_.base; }
  RoutedResult backward(const TrainingStep& step) override;
  /// "weight.<modality>", a.
  [[nodiscard]] std::map<std::string, double> choices() const override { return choices_; }

  /// a of each modality for the sums of its mean |z_m| and its mean entropy; 0 where they are NaN.
  static std::vector<double> weights(const std::vector<double>& magnitudes,
                                     const std::vector<double>& entropies, double temperature);

  static std::shared_ptr<Method> read(Options& options, const MethodContext& context);

 private:
  [[nodiscard]] std::vector<double> weights_for(const ModalityTensors& alone) const;

  ArlOptions options_;
  std::map<std::string, double> choices_;
};

}  // namespace unbraid
