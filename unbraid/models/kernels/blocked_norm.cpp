#include "unbraid/models/kernels/blocked_norm.h"

#include <ATen/Parallel.h>

#include <cmath>

#include "unbraid/models/kernels/blocked_convolution.h"
#include "unbraid/models/kernels/norm_kernels.h"

namespace unbraid::kernels {
namespace {

using torch::Tensor;

// Rows of statistics and of a norm's coefficients.
enum StatisticsRow { kMean, kInverseStd, kScale, kShift, kStatisticsRows };
enum CoefficientRow { kDzScale, kXScale, kDzShift, kCoefficientRows };

template <typename T>
T* data(const Tensor& tensor) {
  return tensor.defined() ? static_cast<T*>(tensor.data_ptr()) : nullptr;
}

float* row(const Tensor& table, int64_t number) {
  return data<float>(table) + number * table.size(1);
}

int64_t channels_of(const Tensor& x) { return x.size(1) * kBlock; }
int64_t pixels_of(const Tensor& x) { return x.size(2) * x.size(3); }

/// One float per channel of each image.
Tensor empty_sums(const Tensor& x) { return at::empty({x.size(0), channels_of(x)}, at::kFloat); }

/// One plane of 16 channels. Its 16 sums are at plane * 16.
struct Plane {
  int64_t number;
  int64_t channel;

  [[nodiscard]] int64_t sums() const { return number * kBlock; }
  template <typename T>
  T* of(const Tensor& x) const {
    return x.defined() ? data<T>(x) + number * pixels_of(x) * kBlock : nullptr;
  }
  [[nodiscard]] Affine affine(const Normed& x) const {
    return {row(x.statistics, kScale) + channel, row(x.statistics, kShift) + channel};
  }
  [[nodiscard]] const float* mean(const Normed& x) const {
    return row(x.statistics, kMean) + channel;
  }
  [[nodiscard]] InputGradient gradient(const Normed& x, const NormGradient& norm) const {
    return {mean(x), row(norm.coefficients, kDzScale) + channel,
            row(norm.coefficients, kXScale) + channel, row(norm.coefficients, kDzShift) + channel};
  }
};

/// body(plane, value of the storage type) for every plane of x, in parallel.
template <typename Body>
void for_each_plane(const Tensor& x, Body body) {
  const int64_t blocks = x.size(1);
  const int64_t planes_per_thread = at::internal::GRAIN_SIZE / (pixels_of(x) * kBlock) + 1;
  at::parallel_for(0, x.size(0) * blocks, planes_per_thread, [&](int64_t begin, int64_t end) {
    for (int64_t number = begin; number < end; ++number) {
      const Plane plane{number, number % blocks * kBlock};
      if (x.scalar_type() == at::kBFloat16) {
        body(plane, BFloat16Bits{});
      } else {
        body(plane, float{});
      }
    }
  });
}

struct Moments {
  double mean;
  double squares;  // sum of squared deviations
};

/// Of one channel over the batch, from those of its planes.
Moments merge(const Tensor& means, const Tensor& squares, int64_t channel, int64_t pixels) {
  const int64_t batch = means.size(0);
  Moments merged{0, 0};
  for (int64_t image = 0; image < batch; ++image) {
    merged.mean += row(means, image)[channel];
  }
  merged.mean /= static_cast<double>(batch);
  for (int64_t image = 0; image < batch; ++image) {
    const double offset = row(means, image)[channel] - merged.mean;
    merged.squares += row(squares, image)[channel] + offset * offset * static_cast<double>(pixels);
  }
  return merged;
}

/// Fills the mean and 1 / std of the batch and moves the running statistics.
void take_batch_statistics(const Tensor& x, torch::nn::BatchNorm2dImpl& norm,
                           const Tensor& statistics) {
  const Tensor means = empty_sums(x);
  const Tensor squares = empty_sums(x);
  for_each_plane(x, [&](const Plane& plane, auto type) {
    plane_moments(plane.of<decltype(type)>(x), pixels_of(x), data<float>(means) + plane.sums(),
                  data<float>(squares) + plane.sums());
  });
  norm.num_batches_tracked += 1;
  auto* running_mean = data<float>(norm.running_mean);
  auto* running_var = data<float>(norm.running_var);
  const double momentum = norm.options.momentum().value();
  const auto count = static_cast<double>(x.size(0) * pixels_of(x));
  const auto moved = [&](float running, double now) {
    return static_cast<float>((1 - momentum) * running + momentum * now);
  };
  for (int64_t c = 0; c < channels_of(x); ++c) {
    const Moments moments = merge(means, squares, c, pixels_of(x));
    row(statistics, kMean)[c] = static_cast<float>(moments.mean);
    row(statistics, kInverseStd)[c] =
        static_cast<float>(1 / std::sqrt(moments.squares / count + norm.options.eps()));
    running_mean[c] = moved(running_mean[c], moments.mean);
    running_var[c] = moved(running_var[c], moments.squares / (count - 1));
  }
  norm.running_mean.unsafeGetTensorImpl()->bump_version();
  norm.running_var.unsafeGetTensorImpl()->bump_version();
}

void take_running_statistics(const torch::nn::BatchNorm2dImpl& norm, const Tensor& statistics) {
  for (int64_t c = 0; c < statistics.size(1); ++c) {
    row(statistics, kMean)[c] = data<float>(norm.running_mean)[c];
    row(statistics, kInverseStd)[c] =
        static_cast<float>(1 / std::sqrt(data<float>(norm.running_var)[c] + norm.options.eps()));
  }
}

NormGradient norm_gradient(const Normed& x, const Tensor& sum_dz, const Tensor& sum_dz_x,
                           int64_t pixels, bool training) {
  const int64_t batch = sum_dz.size(0);
  const int64_t channels = sum_dz.size(1);
  NormGradient gradient{at::zeros({kCoefficientRows, channels}, at::kFloat),
                        at::empty({channels}, at::kFloat), at::empty({channels}, at::kFloat)};
  const auto count = static_cast<double>(batch * pixels);
  for (int64_t c = 0; c < channels; ++c) {
    double dz = 0;
    double dz_x = 0;
    for (int64_t image = 0; image < batch; ++image) {
      dz += row(sum_dz, image)[c];
      dz_x += row(sum_dz_x, image)[c];
    }
    const double inverse_std = row(x.statistics, kInverseStd)[c];
    const double scale = row(x.statistics, kScale)[c];
    data<float>(gradient.weight)[c] = static_cast<float>(dz_x * inverse_std);
    data<float>(gradient.bias)[c] = static_cast<float>(dz);
    row(gradient.coefficients, kDzScale)[c] = static_cast<float>(scale);
    if (training) {
      row(gradient.coefficients, kXScale)[c] =
          static_cast<float>(-scale * inverse_std * inverse_std * dz_x / count);
      row(gradient.coefficients, kDzShift)[c] = static_cast<float>(-scale * dz / count);
    }
  }
  return gradient;
}

/// [N, C, H, W] seen as [N, C/16, H, W, 16].
Tensor as_blocked(const Tensor& x) {
  return x.reshape({x.size(0), -1, kBlock, x.size(2), x.size(3)}).permute({0, 1, 3, 4, 2});
}

}  // namespace

Normed with_statistics(const Tensor& x, torch::nn::BatchNorm2dImpl& norm, bool training) {
  Normed normed{x, at::empty({kStatisticsRows, channels_of(x)}, at::kFloat)};
  if (training) {
    take_batch_statistics(x, norm, normed.statistics);
  } else {
    take_running_statistics(norm, normed.statistics);
  }
  for (int64_t c = 0; c < channels_of(x); ++c) {
    const double scale =
        static_cast<double>(data<float>(norm.weight)[c]) * row(normed.statistics, kInverseStd)[c];
    row(normed.statistics, kScale)[c] = static_cast<float>(scale);
    row(normed.statistics, kShift)[c] =
        static_cast<float>(data<float>(norm.bias)[c] - row(normed.statistics, kMean)[c] * scale);
  }
  return normed;
}

void norm_relu(const Normed& x, const Tensor& y) {
  for_each_plane(y, [&](const Plane& plane, auto type) {
    using T = decltype(type);
    plane_norm_relu(plane.of<T>(x.x), pixels_of(y), plane.affine(x), plane.of<T>(y));
  });
}

void norm_add_relu(const Normed& x, const Normed& shortcut, const Tensor& y) {
  for_each_plane(y, [&](const Plane& plane, auto type) {
    using T = decltype(type);
    const bool has_norm = shortcut.statistics.defined();
    const Affine affine = has_norm ? plane.affine(shortcut) : Affine{};
    plane_norm_add_relu(plane.of<T>(x.x), plane.affine(x), plane.of<T>(shortcut.x),
                        has_norm ? &affine : nullptr, pixels_of(y), plane.of<T>(y));
  });
}

Pooled norm_relu_pool(const Normed& x) {
  const int64_t height = x.x.size(2);
  const int64_t width = x.x.size(3);
  Pooled pooled;
  pooled.y = empty_blocked(x.x.size(0), channels_of(x.x), (height + 1) / 2, (width + 1) / 2,
                           x.x.scalar_type());
  pooled.x_max = at::empty_like(pooled.y);
  pooled.position = at::empty(pooled.y.sizes(), at::kByte);
  for_each_plane(x.x, [&](const Plane& plane, auto type) {
    using T = decltype(type);
    plane_norm_relu_pool(plane.of<T>(x.x), height, width, plane.affine(x), plane.of<T>(pooled.y),
                         plane.of<T>(pooled.x_max), plane.of<uint8_t>(pooled.position));
  });
  return pooled;
}

Tensor subsample(const Tensor& x) {
  Tensor y = empty_blocked(x.size(0), channels_of(x), (x.size(2) + 1) / 2, (x.size(3) + 1) / 2,
                           x.scalar_type());
  for_each_plane(x, [&](const Plane& plane, auto type) {
    using T = decltype(type);
    plane_subsample(plane.of<T>(x), x.size(2), x.size(3), plane.of<T>(y));
  });
  return y;
}

void add_subsampled(const Tensor& y, const Tensor& x) {
  for_each_plane(x, [&](const Plane& plane, auto type) {
    using T = decltype(type);
    plane_add_subsampled(plane.of<T>(y), x.size(2), x.size(3), plane.of<T>(x));
  });
}

Tensor average(const Tensor& x) {
  Tensor sums = empty_sums(x);
  for_each_plane(x, [&](const Plane& plane, auto type) {
    plane_sum(plane.of<decltype(type)>(x), pixels_of(x), data<float>(sums) + plane.sums());
  });
  return sums.div_(pixels_of(x));
}

Tensor average_backward(const Tensor& dy, const Tensor& like) {
  const Tensor scaled = dy.to(at::kFloat).div(pixels_of(like)).contiguous();
  Tensor dx = at::empty_like(like);
  for_each_plane(dx, [&](const Plane& plane, auto type) {
    plane_fill(data<float>(scaled) + plane.sums(), pixels_of(dx), plane.of<decltype(type)>(dx));
  });
  return dx;
}

Tensor maps(const Tensor& x) {
  Tensor y = at::empty({x.size(0), x.size(1) * kBlock, x.size(2), x.size(3)}, at::kFloat);
  as_blocked(y).copy_(x);
  return y;
}

Tensor maps_backward(const Tensor& dy, const Tensor& like) {
  return at::empty_like(like).copy_(as_blocked(dy));
}

NormGradient norm_relu_backward(const Normed& x, const Tensor& dy, bool training) {
  const int64_t pixels = pixels_of(dy);
  const Tensor sum_dz = empty_sums(dy);
  const Tensor sum_dz_x = empty_sums(dy);
  for_each_plane(dy, [&](const Plane& plane, auto type) {
    using T = decltype(type);
    plane_norm_relu_backward_sums(plane.of<T>(dy), plane.of<T>(x.x), pixels, plane.affine(x),
                                  plane.mean(x), data<float>(sum_dz) + plane.sums(),
                                  data<float>(sum_dz_x) + plane.sums());
  });
  NormGradient gradient = norm_gradient(x, sum_dz, sum_dz_x, pixels, training);
  for_each_plane(dy, [&](const Plane& plane, auto type) {
    using T = decltype(type);
    plane_norm_relu_backward(plane.of<T>(dy), plane.of<T>(x.x), pixels, plane.affine(x),
                             plane.gradient(x, gradient), plane.of<T>(dy));
  });
  return gradient;
}

AddReluGradients add_relu_backward(const Tensor& dy1, const Tensor& dy2, const Tensor& y,
                                   const Normed& x, const Normed& shortcut, int64_t pixels,
                                   bool training) {
  const bool has_norm = shortcut.statistics.defined();
  const Tensor sum_dz = empty_sums(y);
  const Tensor sum_dz_x = empty_sums(y);
  const Tensor sum_dz_r = has_norm ? empty_sums(y) : Tensor();
  for_each_plane(y, [&](const Plane& plane, auto type) {
    using T = decltype(type);
    plane_add_relu_backward<T>(
        {.dy1 = plane.of<T>(dy1),
         .dy2 = plane.of<T>(dy2),
         .y = plane.of<T>(y),
         .x = plane.of<T>(x.x),
         .mean = plane.mean(x),
         .r = has_norm ? plane.of<T>(shortcut.x) : nullptr,
         .r_mean = has_norm ? plane.mean(shortcut) : nullptr,
         .dz = plane.of<T>(dy1),
         .sum_dz = data<float>(sum_dz) + plane.sums(),
         .sum_dz_x = data<float>(sum_dz_x) + plane.sums(),
         .sum_dz_r = has_norm ? data<float>(sum_dz_r) + plane.sums() : nullptr},
        pixels_of(y));
  });
  AddReluGradients gradients;
  gradients.x = norm_gradient(x, sum_dz, sum_dz_x, pixels, training);
  if (has_norm) {
    gradients.shortcut = norm_gradient(shortcut, sum_dz, sum_dz_r, pixels, training);
  }
  return gradients;
}

void norm_backward(const Normed& x, const Tensor& dz, const NormGradient& gradient,
                   const Tensor& dx) {
  for_each_plane(dx, [&](const Plane& plane, auto type) {
    using T = decltype(type);
    plane_norm_backward(plane.of<T>(dz), plane.of<T>(x.x), pixels_of(dx),
                        plane.gradient(x, gradient), plane.of<T>(dx));
  });
}

Tensor norm_pool_backward(const Normed& x, const Tensor& dz, const Tensor& position,
                          const NormGradient& gradient) {
  Tensor dx = at::empty_like(x.x);
  for_each_plane(dx, [&](const Plane& plane, auto type) {
    using T = decltype(type);
    plane_norm_relu_pool_backward(plane.of<T>(dz), plane.of<uint8_t>(position), plane.of<T>(x.x),
                                  dx.size(2), dx.size(3), plane.gradient(x, gradient),
                                  plane.of<T>(dx));
  });
  return dx;
}

}  // namespace unbraid::kernels
