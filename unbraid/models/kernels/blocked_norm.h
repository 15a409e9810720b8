#pragma once

#include "unbraid/core/torch.h"

/// BatchNorm with ReLU, residual sums and pooling fused, forwards and backwards, on blocked tensors
/// [N, C/16, H, W, 16] in float or bfloat16. All arithmetic is in float, sums over the batch in
/// double. Gradients are those of training, or of evaluation where `training` is false.
namespace unbraid::kernels {

/// A tensor before its BatchNorm. `statistics` [4, C]: mean, 1 / std, scale, shift, so that the
/// norm is x * scale + shift; undefined for no norm.
struct Normed {
  torch::Tensor x;
  torch::Tensor statistics;
};

/// Statistics of the batch, which also move the running ones as LibTorch's BatchNorm does, or the
/// running ones themselves when not training.
Normed with_statistics(const torch::Tensor& x, torch::nn::BatchNorm2dImpl& norm, bool training);

/// relu(norm(x)), written to `y`, which may be x.x.
void norm_relu(const Normed& x, const torch::Tensor& y);

/// relu(norm(x) + norm(shortcut)), written to `y`, which may be x.x.
void norm_add_relu(const Normed& x, const Normed& shortcut, const torch::Tensor& y);

/// relu of the 3x3 stride-2 padding-1 maximum of norm(x), with the x and the place of each maximum.
struct Pooled {
  torch::Tensor y;
  torch::Tensor x_max;
  torch::Tensor position;
};
Pooled norm_relu_pool(const Normed& x);

/// Every second row and column of x, rounding up.
torch::Tensor subsample(const torch::Tensor& x);

/// Adds y to every second row and column of x.
void add_subsampled(const torch::Tensor& y, const torch::Tensor& x);

/// Average over the pixels: float [N, C].
torch::Tensor average(const torch::Tensor& x);

/// Gradient of average(like) from that of its result.
torch::Tensor average_backward(const torch::Tensor& dy, const torch::Tensor& like);

/// As float [N, C, H, W].
torch::Tensor maps(const torch::Tensor& x);

/// Gradient of maps(like) from that of its result.
torch::Tensor maps_backward(const torch::Tensor& dy, const torch::Tensor& like);

/// What one norm adds to the gradients: of its weight and bias, and the coefficients [3, C] by
/// which the gradient of its result becomes that of its input.
struct NormGradient {
  torch::Tensor coefficients;
  torch::Tensor weight;
  torch::Tensor bias;
};

/// Turns dy, the gradient of relu(norm(x)), into that of x.
NormGradient norm_relu_backward(const Normed& x, const torch::Tensor& dy, bool training);

/// Turns dy1, the gradient of y = relu(norm(x) + norm(shortcut)), into that of the sum, adding dy2
/// first unless it is undefined. The norms are those over `pixels` pixels an image, of which y may
/// be the pooled part. A shortcut without statistics gets no gradient, and may be undefined.
struct AddReluGradients {
  NormGradient x;
  NormGradient shortcut;
};
AddReluGradients add_relu_backward(const torch::Tensor& dy1, const torch::Tensor& dy2,
                                   const torch::Tensor& y, const Normed& x, const Normed& shortcut,
                                   int64_t pixels, bool training);

/// Gradient of x from dz, that of norm(x), written to `dx`, which may be dz.
void norm_backward(const Normed& x, const torch::Tensor& dz, const NormGradient& gradient,
                   const torch::Tensor& dx);

/// Gradient of x from dz, that of the pooled maximum before the ReLU.
torch::Tensor norm_pool_backward(const Normed& x, const torch::Tensor& dz,
                                 const torch::Tensor& position, const NormGradient& gradient);

}  // namespace unbraid::kernels
