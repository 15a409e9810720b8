#pragma once

#include "unbraid/models/fusions/fusion.h"

namespace unbraid {

struct MmtmFusionOptions {
  int64_t stages = 2;  // residual stages of each network that belong to the fusion, 1 to 4
  int64_t blocks = 2;  // basic blocks of a stage
  int64_t ratio = 4;   // channels of all networks / units of the joint representation
};

/// Convolutional networks whose upper stages exchange squeeze-and-excitation signals (MMTM: Joze et
/// al., CVPR 2020): the encoders are the lower stages and give maps A_m [B, C_m, H, W]; the fusion
/// holds the rest of each network, ResNet stages that double the channels and halve the resolution,
/// with a transfer module after each stage,
///
///     s_m = mean over H, W of A_m;  z = relu(W [s_1; …; s_M] + b)       (equations 1 and 2)
///     A_m <- 2 sigmoid(W_m z + b_m) * A_m                               (equations 3 to 5)
///
/// and y is the mean of fc_<m>(mean over H, W of A_m). The network of an absent modality does not
/// run and its s_m is zero. Stages are numbered from the top like ResNet's, so that torchvision's
/// weights of layer3 and layer4 fit the default. Parameters: <modality>.layer<k>.…,
/// <modality>.fc.…, mmtm<k>.squeeze.…, mmtm<k>.excite_<modality>.….
class MmtmFusion : public Fusion {
 public:
  explicit MmtmFusion(const FusionShape& shape, const MmtmFusionOptions& options = {});
  [[nodiscard]] std::string torchscript() const override;

  static FusionBuilder read(Options& options);

 private:
  struct Transfer {
    torch::nn::Linear squeeze{nullptr};
    std::vector<torch::nn::Linear> excite;  // by modality
  };

  torch::Tensor fuse(const ModalityTensors& features, const Presence& presence) override;
  /// Excites packed `maps` in place of their values.
  void exchange(Transfer& transfer, ModalityTensors& maps, const Presence& presence);

  std::vector<std::vector<torch::nn::Sequential>> stages_;  // by stage and modality
  std::vector<Transfer> transfers_;                         // by stage
  std::vector<torch::nn::Linear> heads_;                    // by modality
};

}  // namespace unbraid
