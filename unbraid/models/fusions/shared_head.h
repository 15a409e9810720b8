#pragma once

#include "unbraid/models/fusions/fusion.h"

namespace unbraid {

struct SharedHeadOptions {
  std::vector<double> weights = {};  // one for each modality, above 0; empty: all alike
  bool dynamic = false;
};

/// y = sum_m w_m (W z_m + b), one linear layer for the features of every modality, which all have
/// one size (Zhang, Yoon, Bansal & Yao, "Multimodal Representation Learning by Alternating Unimodal
/// Adaptation", CVPR 2024); alone: W z_m + b. The weights of a sample are those of the modalities
/// that it has, divided by their sum, and with `dynamic`
///
///     w_m = exp(H_max - H_m) / sum_n exp(H_max - H_n)
///
/// with H_m the entropy of softmax(W z_m + b). Parameters: head.{weight [outputs, feature size],
/// bias [outputs]}. Keys: `weights` (equal), or `dynamic` (false).
class SharedHeadFusion : public Fusion {
 public:
  explicit SharedHeadFusion(const FusionShape& shape, SharedHeadOptions options = {});

  [[nodiscard]] torch::nn::LinearImpl& head() { return *head_; }

  [[nodiscard]] std::string torchscript() const override;
  static FusionBuilder read(Options& options);

 private:
  torch::Tensor fuse(const ModalityTensors& features, const Presence& presence) override;

  SharedHeadOptions options_;
  size_t modalities_;
  torch::nn::Linear head_{nullptr};
};

}  // namespace unbraid
