#pragma once

#include <cstdint>

/// Loops over one plane of the blocked layout [N, C/16, H, W, 16]: `pixels` groups of 16 channels.
/// Neither this header nor its source includes anything of LibTorch: the source is compiled for
/// AVX-512, and inline functions of other headers compiled that way must not reach the program.
namespace unbraid::kernels {

inline constexpr int kBlock = 16;

struct BFloat16Bits {
  uint16_t bits;
};

/// Coefficients of 16 channels.
struct Affine {
  const float* scale;
  const float* shift;
};

/// dx = dz * dz_scale + (x - mean) * x_scale + shift
struct InputGradient {
  const float* mean;
  const float* dz_scale;
  const float* x_scale;
  const float* shift;
};

/// Mean and sum of squared deviations.
template <typename T>
void plane_moments(const T* x, int64_t pixels, float* mean, float* squares);

template <typename T>
void plane_sum(const T* x, int64_t pixels, float* sum);

template <typename T>
void plane_fill(const float* value, int64_t pixels, T* x);

/// y = relu(x * scale + shift); y may be x.
template <typename T>
void plane_norm_relu(const T* x, int64_t pixels, Affine affine, T* y);

/// y = relu(x * scale + shift + r * r_scale + r_shift), or + r where r_affine is null; y may be x.
template <typename T>
void plane_norm_add_relu(const T* x, Affine affine, const T* r, const Affine* r_affine,
                         int64_t pixels, T* y);

/// Sums of dz and of dz * (x - mean), where dz is dy where x * scale + shift > 0, else 0.
template <typename T>
void plane_norm_relu_backward_sums(const T* dy, const T* x, int64_t pixels, Affine affine,
                                   const float* mean, float* sum_dz, float* sum_dz_x);

/// dx from dy; dx may be dy.
template <typename T>
void plane_norm_relu_backward(const T* dy, const T* x, int64_t pixels, Affine affine,
                              InputGradient gradient, T* dx);

/// dx from dz; dx may be dz.
template <typename T>
void plane_norm_backward(const T* dz, const T* x, int64_t pixels, InputGradient gradient, T* dx);

/// y = relu(norm(x) + norm(r)) backwards: dz = dy1 + dy2 where y > 0, else 0, with the sums over
/// dz that the norms of x and r need. dy2 may be null, as may r with its mean and sum; dz may be
/// dy1.
template <typename T>
struct AddReluBackward {
  const T* dy1;
  const T* dy2;
  const T* y;
  const T* x;
  const float* mean;
  const T* r;
  const float* r_mean;
  T* dz;
  float* sum_dz;
  float* sum_dz_x;
  float* sum_dz_r;
};
template <typename T>
void plane_add_relu_backward(const AddReluBackward<T>& plane, int64_t pixels);

/// relu of the 3x3 stride-2 padding-1 maximum of x * scale + shift. Keeps where in its window each
/// maximum was and the x there.
template <typename T>
void plane_norm_relu_pool(const T* x, int64_t height, int64_t width, Affine affine, T* y, T* x_max,
                          uint8_t* position);

/// dx from the gradient of the pooled plane, which is zero already where the pooled value is.
template <typename T>
void plane_norm_relu_pool_backward(const T* dz, const uint8_t* position, const T* x, int64_t height,
                                   int64_t width, InputGradient gradient, T* dx);

/// Every second pixel of every second row.
template <typename T>
void plane_subsample(const T* x, int64_t height, int64_t width, T* y);

/// Adds y to every second pixel of every second row of x.
template <typename T>
void plane_add_subsampled(const T* y, int64_t height, int64_t width, T* x);

}  // namespace unbraid::kernels
