#pragma once

#include "unbraid/models/fusions/fusion.h"

namespace unbraid {

struct CentralFusionOptions {
  int64_t width = 128;  // units of every layer
  int64_t depth = 2;    // layers of each branch
};

/// A central branch beside one branch per modality that takes a learned mix of all of them at every
/// stage, as CentralNet (Vielzeuf et al., ECCV Workshops 2018): with h_m^0 = z_m,
///
///     h_m^i = relu(L_m^i h_m^(i-1))
///     c^i   = relu(C^i (a_c^i c^(i-1) + sum_m a_m^i h_m^i))          (no first term for i = 1)
///     y     = fc_out(c^depth)
///
/// over the modalities m that are present. Departs from the paper, which mixes equal stages of the
/// same network, in giving all stages one width. Parameters: <modality>.<i>.…, central.<i>.…,
/// fc_out.…, and mix [depth, 1 + M] with a = 1 + mix, the central branch's first.
class CentralFusion : public Fusion {
 public:
  explicit CentralFusion(const FusionShape& shape, const CentralFusionOptions& options = {});
  [[nodiscard]] std::string torchscript() const override;

  static FusionBuilder read(Options& options);

 private:
  torch::Tensor fuse(const ModalityTensors& features, const Presence& presence) override;

  std::vector<std::vector<torch::nn::Linear>> branches_;  // by modality and stage
  std::vector<torch::nn::Linear> central_;                // by stage
  torch::Tensor mix_;
  torch::nn::Linear fc_out_{nullptr};
};

}  // namespace unbraid
