#pragma once

#include "unbraid/core/torch.h"

/// Convolution without bias by oneDNN, on activations of the blocked layout [N, C/16, H, W, 16]
/// (float or bfloat16) and on weights of LibTorch's layout ([out, in, k, k], float, any strides).
/// The padding is k / 2; out is a multiple of 16, as is in unless it is below 16, when the input is
/// plain [N, C, H, W]. Uses Winograd's algorithm where oneDNN has it (float, 3x3, stride 1).
/// Failures of oneDNN are c10::Error.
namespace unbraid::kernels {

/// Whether oneDNN is a version that this was built for and this processor runs the layout fast in
/// the type.
bool blocked_convolution_available(at::ScalarType type);

torch::Tensor empty_blocked(int64_t batch, int64_t channels, int64_t height, int64_t width,
                            at::ScalarType type);

torch::Tensor convolve(const torch::Tensor& input, const torch::Tensor& weight, int64_t stride);

/// Gradient of the input, which is blocked and has `height` and `width`.
torch::Tensor convolve_backward_input(const torch::Tensor& gradient, const torch::Tensor& weight,
                                      int64_t stride, int64_t height, int64_t width);

/// Gradient of the weight, with the weight's strides.
torch::Tensor convolve_backward_weight(const torch::Tensor& input, const torch::Tensor& gradient,
                                       const torch::Tensor& weight, int64_t stride);

}  // namespace unbraid::kernels
