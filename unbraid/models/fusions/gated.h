#pragma once

#include "unbraid/models/fusions/fusion.h"

namespace unbraid {

/// y = W_out(sigmoid(W_1 z_1) * W_2 z_2), the first modality being the gate; alone:
/// W_out(sigmoid(W_m z_m) * W_m z_m). For one or two modalities. Parameters: fc_<modality>.{weight
/// [d, feature size], bias [d]} with d the first feature's size, fc_out.{weight [outputs, d],
/// bias}.
///
/// `released` reproduces the DGL reference code, which cuts the multimodal loss after the
/// projections W_1, W_2 and not before them, so that under DGL these never train.
class GatedFusion : public Fusion {
 public:
  explicit GatedFusion(const FusionShape& shape, bool released = false);
  [[nodiscard]] std::string torchscript() const override;

  static FusionBuilder read(Options& options);

 private:
  torch::Tensor fuse(const ModalityTensors& features, const Presence& presence) override;
  bool released_;
  std::vector<torch::nn::Linear> projections_;
  torch::nn::Linear fc_out_{nullptr};
};

}  // namespace unbraid
