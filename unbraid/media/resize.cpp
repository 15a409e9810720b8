#include "unbraid/media/resize.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

namespace unbraid {
namespace {

constexpr int64_t kLanes = 4;  // of a Pixel; its channels are the first ones
using Pixel = float __attribute__((vector_size(kLanes * sizeof(float))));

/// Output i is the sum of `taps` inputs from `firsts[i]` on, times the weights from
/// `weights[i * taps]` on. Where that is past the last input, the weight is 0.
struct Filter {
  std::vector<int64_t> firsts;
  std::vector<float> weights;
  int64_t taps = 0;

  [[nodiscard]] const float* weights_of(int64_t output) const {
    return weights.data() + output * taps;
  }
};

// A triangle over two output pixels, or over two inputs where these are farther apart.
Filter triangles(int64_t inputs, int64_t outputs) {
  const double step = static_cast<double>(inputs) / static_cast<double>(outputs);
  const double reach = std::max(step, 1.0);
  const auto centre = [&](int64_t output) { return (static_cast<double>(output) + 0.5) * step; };
  const auto end = [&](int64_t output) {
    return std::min(inputs, static_cast<int64_t>(std::lround(centre(output) + reach)));
  };
  Filter filter;
  for (int64_t i = 0; i < outputs; ++i) {
    filter.firsts.push_back(
        std::max<int64_t>(0, static_cast<int64_t>(std::lround(centre(i) - reach))));
    filter.taps = std::max(filter.taps, end(i) - filter.firsts.back());
  }
  filter.weights.resize(static_cast<size_t>(outputs * filter.taps));
  std::vector<double> weights;
  for (int64_t i = 0; i < outputs; ++i) {
    const int64_t first = filter.firsts[static_cast<size_t>(i)];
    weights.clear();
    double sum = 0;
    for (int64_t input = first; input < end(i); ++input) {
      const double distance = (static_cast<double>(input) + 0.5 - centre(i)) / reach;
      weights.push_back(std::max(0.0, 1.0 - std::abs(distance)));
      sum += weights.back();
    }
    std::transform(weights.begin(), weights.end(), filter.weights.begin() + i * filter.taps,
                   [sum](double weight) { return static_cast<float>(weight / sum); });
  }
  return filter;
}

// The sum of `count` rows of `length` values that are `stride` apart, each times its weight.
[[gnu::always_inline]] inline void sum_rows(const uint8_t* rows, int64_t stride,
                                            const float* weights, int64_t count, int64_t length,
                                            float* sums) {
  constexpr int64_t kBlock = 32;
  int64_t start = 0;
  for (; start + kBlock <= length; start += kBlock) {
    std::array<float, kBlock> block;
    for (int64_t i = 0; i < kBlock; ++i) {
      block[i] = weights[0] * static_cast<float>(rows[start + i]);
    }
    for (int64_t row = 1; row < count; ++row) {
      const uint8_t* const values = rows + row * stride + start;
      for (int64_t i = 0; i < kBlock; ++i) {
        block[i] += weights[row] * static_cast<float>(values[i]);
      }
    }
    std::memcpy(sums + start, block.data(), sizeof(block));
  }
  for (; start < length; ++start) {
    sums[start] = 0;
    for (int64_t row = 0; row < count; ++row) {
      sums[start] += weights[row] * static_cast<float>(rows[row * stride + start]);
    }
  }
}

// `pixels` is the corner of the part, of `height` rows that are `stride` apart; `result` one plane
// of size x size for each channel.
struct Work {
  const uint8_t* pixels;
  int64_t stride;
  int64_t height;
  int64_t width;
  int64_t size;
  bool flip;
  Pixel scale;
  Pixel shift;
  float* result;
};

// One row of the result from the sum of rows that makes it. `kTaps` is the number of the filter's
// taps where it is known to the compiler, else 0.
template <int64_t kChannels, int64_t kTaps>
[[gnu::always_inline]] inline void sum_columns(const Work& work, const Filter& columns,
                                               const float* row, float* result) {
  const int64_t size = work.size;
  const int64_t plane = size * size;
  const int64_t taps = kTaps == 0 ? columns.taps : kTaps;
  const int64_t* const firsts = columns.firsts.data();
  const float* weights = columns.weights.data();
  const Pixel scale = work.scale;
  const Pixel shift = work.shift;
  const int64_t step = work.flip ? -1 : 1;
  float* target = result + (work.flip ? size - 1 : 0);
  for (int64_t x = 0; x < size; ++x, weights += taps, target += step) {
    const float* const pixels = row + firsts[x] * kChannels;
    Pixel sum{};
    for (int64_t i = 0; i < taps; ++i) {
      Pixel pixel;
      std::memcpy(&pixel, pixels + i * kChannels, sizeof(pixel));
      sum += weights[i] * pixel;
    }
    sum = sum * scale + shift;
    for (int64_t c = 0; c < kChannels; ++c) {
      target[c * plane] = sum[c];
    }
  }
}

template <int64_t kChannels>
[[gnu::always_inline]] inline void resize_inline(const Work& work) {
  const int64_t size = work.size;
  const Filter rows = triangles(work.height, size);
  const Filter columns = triangles(work.width, size);
  const int64_t length = work.width * kChannels;
  // A pixel is read with more lanes than it has channels, and weights of 0 reach past the last.
  std::vector<float> row(static_cast<size_t>(length + columns.taps * kChannels + kLanes));
  for (int64_t y = 0; y < size; ++y) {
    const int64_t first = rows.firsts[static_cast<size_t>(y)];
    sum_rows(work.pixels + first * work.stride, work.stride, rows.weights_of(y),
             std::min(rows.taps, work.height - first), length, row.data());
    float* const result = work.result + y * size;
    switch (columns.taps) {
      case 2:
        sum_columns<kChannels, 2>(work, columns, row.data(), result);
        break;
      case 3:
        sum_columns<kChannels, 3>(work, columns, row.data(), result);
        break;
      case 4:
        sum_columns<kChannels, 4>(work, columns, row.data(), result);
        break;
      case 5:
        sum_columns<kChannels, 5>(work, columns, row.data(), result);
        break;
      default:
        sum_columns<kChannels, 0>(work, columns, row.data(), result);
    }
  }
}

#ifdef __x86_64__
template <int64_t kChannels>
[[gnu::target("avx2,fma")]] void resize_avx2(const Work& work) {
  resize_inline<kChannels>(work);
}
#endif

template <int64_t kChannels>
void resize(const Work& work) {
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0) {
    resize_avx2<kChannels>(work);
    return;
  }
#endif
  resize_inline<kChannels>(work);
}

}  // namespace

torch::Tensor resize_crop(const torch::Tensor& image, const Crop& crop, int64_t size, bool flip,
                          const PixelScaling& scaling) {
  const int64_t channels = image.size(2);
  const bool packed = image.stride(2) == 1 && image.stride(1) == channels;
  const torch::Tensor pixels = packed ? image : image.contiguous();
  torch::Tensor result = torch::empty({channels, size, size});
  Work work{
      .pixels = pixels.data_ptr<uint8_t>() + crop.top * pixels.stride(0) + crop.left * channels,
      .stride = pixels.stride(0),
      .height = crop.height,
      .width = crop.width,
      .size = size,
      .flip = flip,
      .scale = {},
      .shift = {},
      .result = result.data_ptr<float>()};
  for (int64_t c = 0; c < channels; ++c) {
    work.scale[c] = scaling.scale[static_cast<size_t>(c)];
    work.shift[c] = scaling.shift[static_cast<size_t>(c)];
  }
  if (channels == 1) {
    resize<1>(work);
  } else if (channels == 2) {
    resize<2>(work);
  } else {
    resize<3>(work);
  }
  return result;
}

}  // namespace unbraid
