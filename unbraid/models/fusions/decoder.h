#pragma once

#include "unbraid/models/fusions/fusion.h"

namespace unbraid {

/// Maps to an output for each pixel. Each modality's maps are projected by a 1x1 convolution,
/// resized (bilinear) to the output's size divided by 2^blocks, and summed over the modalities that
/// are present; then `blocks` times: twice the size (bilinear), 3x3 convolution, BatchNorm, ReLU;
/// last a 1x1 convolution:
///
///     x_0 = sum_m resize(P_m z_m + b_m),   x_i = ReLU(BN_i(W_i * up(x_{i-1}))),   y = V x_n + c
///
/// `channels` are those of x_0 to x_n, n being the number of blocks. An absent modality adds
/// neither maps nor bias. [B, d_m, h_m, w_m] each → [B, outputs, H, W]. Parameters:
/// project_<modality>.{weight,bias}, conv<i>.weight, bn<i>.…, out.{weight,bias}.
///
/// Keys: channels = [64, 32, 16, 16] (three blocks: one for each halving in the encoders).
class DecoderFusion : public Fusion {
 public:
  /// Throws RecipeError when features or outputs are no maps, or H or W is no multiple of 2^blocks.
  DecoderFusion(const FusionShape& shape, const std::vector<int64_t>& channels);
  [[nodiscard]] std::string torchscript() const override;

  static FusionBuilder read(Options& options);

 private:
  torch::Tensor fuse(const ModalityTensors& features, const Presence& presence) override;

  std::vector<int64_t> start_;  // height and width of x_0
  std::vector<torch::nn::Conv2d> projections_;
  std::vector<torch::nn::Conv2d> convolutions_;
  std::vector<torch::nn::BatchNorm2d> norms_;
  torch::nn::Conv2d out_{nullptr};
};

}  // namespace unbraid
