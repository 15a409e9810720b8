#pragma once

#include <string>

#include "unbraid/core/torch.h"

namespace unbraid::script {
class Lines;
}

/// The pieces of ResNets (He et al., 2016), with torchvision's parameter names.
namespace unbraid {

/// Two 3x3 convolutions, or 1x1, 3x3 and 1x1 with a quarter of the channels in between.
enum class ResNetBlock { kBasic, kBottleneck };

/// kernel x kernel without bias, padded by kernel / 2.
torch::nn::Conv2d make_convolution(int64_t inputs, int64_t outputs, int64_t kernel, int64_t stride);

/// `blocks` residual blocks, the first of which takes `stride`: [B, inputs, H, W] → [B, outputs,
/// ceil(H / stride), ceil(W / stride)]. Parameters: 0.conv1.weight, 0.bn1.{weight,bias}, ….
torch::nn::Sequential make_stage(int64_t inputs, int64_t outputs, int64_t blocks, int64_t stride,
                                 ResNetBlock block = ResNetBlock::kBasic);

/// Adds to `body` what turns x into what the stage called `name` makes of it.
void add_stage_script(script::Lines& body, const torch::nn::Sequential& stage,
                      const std::string& name);

}  // namespace unbraid
