#pragma once

#include "unbraid/models/kernels/fused_resnet.h"

namespace unbraid::kernels {

inline constexpr int kStages = 4;
inline constexpr int kUnitsPerStage = 5;

/// One stage of ResNet-18 as one operator of autograd: the stem's or the downsampling unit and the
/// four others of its two blocks, at `units`. Gradients that meet at a residual are added in the
/// pass that needs their sum, gradient buffers are overwritten, and what a stage saved is freed
/// once its gradients are known. The first stage takes plain images [N, C, H, W], the others
/// blocked activations; the last one returns the averages [N, C], float.
torch::Tensor resnet_stage(const torch::Tensor& input, const ConvolutionNorm* units, int stage,
                           bool training);

}  // namespace unbraid::kernels
