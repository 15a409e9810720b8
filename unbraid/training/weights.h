#pragma once

#include <string>

#include "unbraid/core/safetensors.h"
#include "unbraid/core/torch.h"

namespace unbraid {

/// Parameters and buffers of `module` by name.
NamedTensors weights_of(const torch::nn::Module& module);

/// The tensors of a safetensors file or of a state dict of PyTorch (training/torch_file.h), which
/// may share memory. Throws StorageError.
NamedTensors read_weights(const std::string& path);

/// Sets every one of `weights` from a file that has them by name. Throws StorageError naming the
/// file and the tensor when one is missing, unexpected or of another shape, or with `finite` what
/// check_finite refuses.
void load_weights(const NamedTensors& weights, const std::string& path, bool finite = false);
/// The same for every parameter and buffer of `module`, with `finite`.
void load_weights(torch::nn::Module& module, const std::string& path);

/// Throws StorageError "<path>: <name>: …" when a value of `given` is not finite where that of
/// `own`, which it would replace, is: masks of minus infinity are as they should be.
void check_finite(const torch::Tensor& given, const torch::Tensor& own, const std::string& path,
                  const std::string& name);

/// Lays the weights of convolutions out with channels last, which convolutions on CPUs and tensor
/// cores are faster on.
void prefer_channels_last(torch::nn::Module& module);

}  // namespace unbraid
