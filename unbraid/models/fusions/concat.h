#pragma once

#include "unbraid/models/fusions/fusion.h"

namespace unbraid {

/// y = W [z_1; …; z_M] + b; alone: W_m z_m + b, where the absent part is never multiplied.
/// Parameters: fc_out.{weight [outputs, sum of feature sizes], bias [outputs]}.
class ConcatFusion : public Fusion {
 public:
  explicit ConcatFusion(const FusionShape& shape);
  [[nodiscard]] std::string torchscript() const override;
  /// W_m [outputs, feature size].
  [[nodiscard]] torch::Tensor weight_of(size_t modality) const;

  static FusionBuilder read(Options& options);

 private:
  torch::Tensor fuse(const ModalityTensors& features, const Presence& presence) override;
  std::vector<int64_t> feature_sizes_;
  torch::nn::Linear fc_out_{nullptr};
};

}  // namespace unbraid
