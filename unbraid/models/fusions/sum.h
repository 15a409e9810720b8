#pragma once

#include "unbraid/models/fusions/fusion.h"

namespace unbraid {

/// y = sum_m (W_m z_m + b_m); alone: W_m z_m + b_m.
/// Parameters: fc_<modality>.{weight [outputs, feature size], bias [outputs]}.
class SumFusion : public Fusion {
 public:
  explicit SumFusion(const FusionShape& shape);
  [[nodiscard]] std::string torchscript() const override;
  /// W_m [outputs, feature size].
  [[nodiscard]] torch::Tensor weight_of(size_t modality) const;

  static FusionBuilder read(Options& options);

 private:
  torch::Tensor fuse(const ModalityTensors& features, const Presence& presence) override;
  std::vector<torch::nn::Linear> branches_;
};

}  // namespace unbraid
