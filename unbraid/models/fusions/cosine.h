#pragma once

#include "unbraid/models/fusions/fusion.h"

namespace unbraid {

/// y_c = scale * sum_m cos(W_m,c, z_m), the concatenation with features and class weights of length
/// 1 and without bias (Xu, Feng, Huang & Zhang, "MMCosine: Multi-Modal Cosine Loss Towards Balanced
/// Audio-Visual Fine-Grained Learning", ICASSP 2023); alone: the summand of m.
/// Parameters: fc_out.weight [outputs, sum of feature sizes]. Keys: `scale` (15), above 0.
class CosineFusion : public Fusion {
 public:
  static constexpr double kScale = 15.0;

  explicit CosineFusion(const FusionShape& shape, double scale = kScale);

  [[nodiscard]] std::string torchscript() const override;
  static FusionBuilder read(Options& options);

 private:
  torch::Tensor fuse(const ModalityTensors& features, const Presence& presence) override;
  std::vector<int64_t> feature_sizes_;
  double scale_;
  torch::nn::Linear fc_out_{nullptr};
};

}  // namespace unbraid
