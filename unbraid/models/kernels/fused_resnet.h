#pragma once

#include <vector>

#include "unbraid/core/torch.h"

/// ResNets of basic blocks (18 and 34) without their classifier on processors with AVX-512:
/// oneDNN's convolutions on its blocked layout, BatchNorm, ReLU, residual sums and pooling fused
/// around them.
namespace unbraid::kernels {

/// A convolution and the BatchNorm after it.
struct ConvolutionNorm {
  torch::nn::Conv2d convolution;
  torch::nn::BatchNorm2d norm;
};

/// The units of one stage of basic blocks in the order stem (the first stage alone has it), then
/// for each block conv1, conv2 and, if it has one (the first block of every other stage),
/// downsample.
using ResNetStage = std::vector<ConvolutionNorm>;

/// Whether this build and this processor have it.
bool fused_resnet_available();

/// Whether fused_resnet gives what LibTorch's operators would, only faster. Images: at least 8x8,
/// of float with up to 3 channels, or of float or bfloat16 with up to 15 under autocast to bfloat16
/// on a processor with it; no gradient of theirs is wanted. Norms: multiples of 16 channels,
/// running statistics with a momentum, and all in the mode that `training` says.
bool fused_resnet_applies(const torch::Tensor& images, const std::vector<ResNetStage>& stages,
                          bool training);

/// [B, C, H, W] → the last stage's maps, or with `averages` their averages [B, C'], always float.
/// Gradients are of first order: differentiating them again is an error. Running statistics move as
/// LibTorch's do.
torch::Tensor fused_resnet(const torch::Tensor& images, const std::vector<ResNetStage>& stages,
                           bool averages, bool training);

}  // namespace unbraid::kernels
