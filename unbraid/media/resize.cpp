#include "unbraid/media/resize.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "unbraid/media/lanes.h"

namespace unbraid {
namespace {

/// Output i is the sum of `taps` inputs from `firsts[i]` on, times the weights from
/// `weights[i * taps]` on. Where that is past the last input, the weight is 0.
struct Filter {
  std::vector<int64_t> firsts;
  std::vector<float> weights;
  int64_t taps = 0;

  [[nodiscard]] const float* weights_of(int64_t output) const {
    return weights.data() + output * taps;
  }
  /// The last output first.
  void mirror() {
    std::reverse(firsts.begin(), firsts.end());
    std::reverse(weights.begin(), weights.end());
    for (auto start = weights.begin(); start != weights.end(); start += taps) {
      std::reverse(start, start + taps);
    }
  }
};

// A triangle over two output pixels, or over two inputs where these are farther apart.
Filter triangles(int64_t inputs, int64_t outputs) {
  const double step = static_cast<double>(inputs) / static_cast<double>(outputs);
  const double reach = std::max(step, 1.0);
  const auto centre = [&](int64_t output) { return (static_cast<double>(output) + 0.5) * step; };
  // Not std::lround, which is a call; what is below 0 becomes 0 either way.
  const auto rounded = [](double place) {
    return static_cast<int64_t>(place + 0.5);  // NOLINT(bugprone-incorrect-roundings)
  };
  const auto end = [&](int64_t output) {
    return std::min(inputs, rounded(centre(output) + reach));
  };
  Filter filter;
  for (int64_t i = 0; i < outputs; ++i) {
    filter.firsts.push_back(std::max<int64_t>(0, rounded(centre(i) - reach)));
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
  for (int64_t begin = 0; length >= kBlock && begin < length; begin += kBlock) {
    const int64_t start = std::min(begin, length - kBlock);  // the last overlaps the one before
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
    for (int64_t i = 0; i < kBlock; ++i) {
      sums[start + i] = block[i];
    }
  }
  for (int64_t i = 0; length < kBlock && i < length; ++i) {
    sums[i] = 0;
    for (int64_t row = 0; row < count; ++row) {
      sums[i] += weights[row] * static_cast<float>(rows[row * stride + i]);
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
  std::array<float, 3> scale;  // by channel
  std::array<float, 3> shift;
  float* result;
};

// Value i of kWidth rows of `length` values to columns[i].
template <int64_t kWidth>
[[gnu::always_inline]] inline void transpose_rows(const float* rows, int64_t length,
                                                  float* columns) {
  for (int64_t start = 0; start < length; start += kWidth) {
    std::array<LanesOf<kWidth>, kWidth> block;
    for (size_t i = 0; i < kWidth; ++i) {
      load_lanes(rows + static_cast<int64_t>(i) * length + start, block[i]);
    }
    transpose(block);
    for (size_t i = 0; i < kWidth; ++i) {
      store_lanes(block[i], columns + (start + static_cast<int64_t>(i)) * kWidth);
    }
  }
}

// `rows` rows of the result, at most kWidth, which are the lanes of `columns`. `kTaps` is the
// number of the filter's taps where it is known to the compiler, else 0.
template <int64_t kWidth, int64_t kChannels, int64_t kTaps>
[[gnu::always_inline]] inline void sum_columns(const Work& work, const Filter& filter,
                                               const float* columns, int64_t rows, float* result) {
  const int64_t size = work.size;
  const int64_t taps = kTaps == 0 ? filter.taps : kTaps;
  for (int64_t start = 0; start < size; start += kWidth) {
    const int64_t count = std::min(kWidth, size - start);
    std::array<std::array<LanesOf<kWidth>, kWidth>, kChannels> pixels{};
    for (int64_t x = 0; x < count; ++x) {
      const float* const weights = filter.weights_of(start + x);
      const float* values =
          columns + filter.firsts[static_cast<size_t>(start + x)] * kChannels * kWidth;
      std::array<LanesOf<kWidth>, kChannels> sums{};
      for (int64_t tap = 0; tap < taps; ++tap) {
        for (size_t c = 0; c < kChannels; ++c, values += kWidth) {
          LanesOf<kWidth> lanes;
          load_lanes(values, lanes);
          sums[c] += weights[tap] * lanes;
        }
      }
      for (size_t c = 0; c < kChannels; ++c) {
        pixels[c][static_cast<size_t>(x)] = sums[c] * work.scale[c] + work.shift[c];
      }
    }
    for (size_t c = 0; c < kChannels; ++c) {
      transpose(pixels[c]);
      float* const target = result + static_cast<int64_t>(c) * size * size + start;
      for (int64_t y = 0; y < rows; ++y) {
        store_lanes(pixels[c][static_cast<size_t>(y)], target + y * size, count);
      }
    }
  }
}

template <int64_t kWidth, int64_t kChannels>
[[gnu::always_inline]] inline void resize_inline(const Work& work) {
  const int64_t size = work.size;
  const Filter rows = triangles(work.height, size);
  Filter columns = triangles(work.width, size);
  if (work.flip) {
    columns.mirror();
  }
  const int64_t length = work.width * kChannels;
  const int64_t whole = (length + kWidth - 1) / kWidth * kWidth;
  std::vector<float> sums(static_cast<size_t>(kWidth * whole));
  // Weights of 0 reach past the last column.
  std::vector<float> turned(static_cast<size_t>((whole + columns.taps * kChannels) * kWidth));
  for (int64_t start = 0; start < size; start += kWidth) {
    const int64_t count = std::min(kWidth, size - start);
    for (int64_t y = 0; y < count; ++y) {
      const int64_t first = rows.firsts[static_cast<size_t>(start + y)];
      sum_rows(work.pixels + first * work.stride, work.stride, rows.weights_of(start + y),
               std::min(rows.taps, work.height - first), length, sums.data() + y * whole);
    }
    transpose_rows<kWidth>(sums.data(), whole, turned.data());
    float* const result = work.result + start * size;
    switch (columns.taps) {
      case 2:
        sum_columns<kWidth, kChannels, 2>(work, columns, turned.data(), count, result);
        break;
      case 3:
        sum_columns<kWidth, kChannels, 3>(work, columns, turned.data(), count, result);
        break;
      case 4:
        sum_columns<kWidth, kChannels, 4>(work, columns, turned.data(), count, result);
        break;
      case 5:
        sum_columns<kWidth, kChannels, 5>(work, columns, turned.data(), count, result);
        break;
      default:
        sum_columns<kWidth, kChannels, 0>(work, columns, turned.data(), count, result);
    }
  }
}

#ifdef __x86_64__
template <int64_t kChannels>
[[gnu::target("avx2,fma")]] void resize_avx2(const Work& work) {
  resize_inline<kLanes, kChannels>(work);
}

template <int64_t kChannels>
[[UNBRAID_AVX512]] void resize_avx512(const Work& work) {
  resize_inline<kWideLanes, kChannels>(work);
}
#endif

template <int64_t kChannels>
void resize(const Work& work) {
#ifdef __x86_64__
  if (simd() >= Simd::kAvx512) {
    resize_avx512<kChannels>(work);
    return;
  }
  if (simd() >= Simd::kAvx2) {
    resize_avx2<kChannels>(work);
    return;
  }
#endif
  resize_inline<kLanes, kChannels>(work);
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
    work.scale[static_cast<size_t>(c)] = scaling.scale[static_cast<size_t>(c)];
    work.shift[static_cast<size_t>(c)] = scaling.shift[static_cast<size_t>(c)];
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
