#pragma once

#include "unbraid/models/kernels/fused_resnet.h"

namespace unbraid::kernels {

/// Plain images [N, C, H, W] for the stem, or activations of the blocked layout.
enum class StageInput { kImages, kBlocked };
/// Activations of the blocked layout; or float, as maps [N, C, H, W] or their averages [N, C].
enum class StageOutput { kBlocked, kMaps, kAverages };

/// One stage of basic blocks as one operator of autograd. Gradients that meet at a residual are
/// added in the pass that needs their sum, gradient buffers are overwritten, and what a stage saved
/// is freed once its gradients are known.
torch::Tensor resnet_stage(const torch::Tensor& x, const ResNetStage& units, StageInput input,
                           StageOutput output, bool training);

}  // namespace unbraid::kernels
