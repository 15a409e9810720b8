#pragma once

#include "unbraid/models/fusions/fusion.h"

namespace unbraid {

/// Low-rank tensor fusion (Liu et al., "Efficient Low-rank Multimodal Fusion with Modality-Specific
/// Factors", ACL 2018, equation 8): y = sum_r prod_m W_m^(r) [z_m; 1], the product being over the
/// modalities that are present; alone: sum_r W_m^(r) [z_m; 1]. The outer product of all features is
/// never formed. Departs from the authors' code in having no weight per rank and no last bias,
/// which the factors hold already. Parameters: fc_<modality>.{weight [rank * outputs, feature
/// size], bias}.
class LowRankFusion : public Fusion {
 public:
  explicit LowRankFusion(const FusionShape& shape, int64_t rank = 4);
  [[nodiscard]] std::string torchscript() const override;

  static FusionBuilder read(Options& options);

 private:
  torch::Tensor fuse(const ModalityTensors& features, const Presence& presence) override;

  int64_t rank_;
  std::vector<torch::nn::Linear> factors_;
};

}  // namespace unbraid
