#pragma once

#include <string>

#include "unbraid/core/safetensors.h"
#include "unbraid/core/torch.h"

namespace unbraid {

/// Parameters and buffers of `module` by name.
NamedTensors weights_of(const torch::nn::Module& module);

/// Sets every parameter and buffer of `module` from a safetensors file. Throws StorageError naming
/// the file and the tensor when one is missing, unexpected or of another shape.
void load_weights(torch::nn::Module& module, const std::string& path);

/// Lays the weights of convolutions out with channels last, which convolutions on CPUs and tensor
/// cores are faster on.
void prefer_channels_last(torch::nn::Module& module);

}  // namespace unbraid
