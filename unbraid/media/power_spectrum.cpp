#include "unbraid/media/power_spectrum.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <numbers>

#include "unbraid/media/lanes.h"

namespace unbraid {
namespace {

template <int64_t kWidth>
struct Complex {
  LanesOf<kWidth> real;
  LanesOf<kWidth> imaginary;
};

// One vector at a time: through a copy of both, GCC 12 goes by way of the stack.
template <int64_t kWidth>
[[gnu::always_inline]] inline Complex<kWidth> load(const float* values) {
  Complex<kWidth> value;
  load_lanes(values, value.real);
  load_lanes(values + kWidth, value.imaginary);
  return value;
}

template <int64_t kWidth>
[[gnu::always_inline]] inline void store(const Complex<kWidth>& value, float* values) {
  store_lanes(value.real, values);
  store_lanes(value.imaginary, values + kWidth);
}

template <int64_t kWidth>
[[gnu::always_inline]] inline Complex<kWidth> sum(const Complex<kWidth>& a,
                                                  const Complex<kWidth>& b) {
  return {a.real + b.real, a.imaginary + b.imaginary};
}

template <int64_t kWidth>
[[gnu::always_inline]] inline Complex<kWidth> difference(const Complex<kWidth>& a,
                                                         const Complex<kWidth>& b) {
  return {a.real - b.real, a.imaginary - b.imaginary};
}

// a - i b.
template <int64_t kWidth>
[[gnu::always_inline]] inline Complex<kWidth> sum_turned(const Complex<kWidth>& a,
                                                         const Complex<kWidth>& b) {
  return {a.real + b.imaginary, a.imaginary - b.real};
}

// a + i b.
template <int64_t kWidth>
[[gnu::always_inline]] inline Complex<kWidth> difference_turned(const Complex<kWidth>& a,
                                                                const Complex<kWidth>& b) {
  return {a.real - b.imaginary, a.imaginary + b.real};
}

template <int64_t kWidth>
[[gnu::always_inline]] inline Complex<kWidth> product(const Complex<kWidth>& a, const float* turn) {
  return {a.real * turn[0] - a.imaginary * turn[1], a.real * turn[1] + a.imaginary * turn[0]};
}

template <bool kTurned, int64_t kWidth>
[[gnu::always_inline]] inline Complex<kWidth> turned(const Complex<kWidth>& value,
                                                     const float* turn) {
  return kTurned ? product(value, turn) : value;
}

struct Work {
  const float* signal;
  const float* window;
  const float* turns;
  const int64_t* places;
  int64_t n_fft;
  int64_t hop;
  int64_t count;
  float* scratch;  // [n_fft, width]
  float* result;
};

// Sample i of kWidth frames under the window to scratch[i]. Past the last frame, the last again.
template <int64_t kWidth>
[[gnu::always_inline]] inline void load_frames(const Work& work, int64_t first) {
  std::array<const float*, kWidth> frames;
  for (int64_t i = 0; i < kWidth; ++i) {
    frames[i] = work.signal + std::min(first + i, work.count - 1) * work.hop;
  }
  for (int64_t start = 0; start < work.n_fft; start += kWidth) {
    LanesOf<kWidth> window;
    load_lanes(work.window + start, window);
    std::array<LanesOf<kWidth>, kWidth> rows;
    for (size_t i = 0; i < kWidth; ++i) {
      load_lanes(frames[i] + start, rows[i]);
      rows[i] *= window;
    }
    transpose(rows);
    for (size_t i = 0; i < kWidth; ++i) {
      store_lanes(rows[i], work.scratch + (start + static_cast<int64_t>(i)) * kWidth);
    }
  }
}

// Values j, j + quarter, … of each 4 * quarter; `kTurned` is false for j = 0, whose turns are 1.
template <int64_t kWidth, bool kTurned>
[[gnu::always_inline]] inline void butterflies(const Work& work, int64_t j, int64_t quarter) {
  constexpr int64_t kSize = 2 * kWidth;  // of a complex value
  const int64_t length = work.n_fft / 2;
  const int64_t step = 2 * (work.n_fft / (4 * quarter));  // of a turn that is 1 / (4 * quarter)
  const float* const once = work.turns + j * step;
  const float* const twice = work.turns + 2 * j * step;
  const float* const thrice = work.turns + 3 * j * step;
  for (int64_t base = j; base < length; base += 4 * quarter) {
    float* const values = work.scratch + base * kSize;
    const Complex<kWidth> a = load<kWidth>(values);
    const Complex<kWidth> b = load<kWidth>(values + quarter * kSize);
    const Complex<kWidth> c = load<kWidth>(values + 2 * quarter * kSize);
    const Complex<kWidth> d = load<kWidth>(values + 3 * quarter * kSize);
    const Complex<kWidth> even = sum(a, c);
    const Complex<kWidth> odd = difference(a, c);
    const Complex<kWidth> even_other = sum(b, d);
    const Complex<kWidth> odd_other = difference(b, d);
    store(sum(even, even_other), values);
    store(turned<kTurned>(difference(even, even_other), twice), values + quarter * kSize);
    store(turned<kTurned>(sum_turned(odd, odd_other), once), values + 2 * quarter * kSize);
    store(turned<kTurned>(difference_turned(odd, odd_other), thrice), values + 3 * quarter * kSize);
  }
}

// The transform of n_fft / 2 complex values in place, decimated in frequency by four; bin i ends at
// places[i].
template <int64_t kWidth>
[[gnu::always_inline]] inline void transform(const Work& work) {
  constexpr int64_t kSize = 2 * kWidth;  // of a complex value
  const int64_t length = work.n_fft / 2;
  int64_t size = length;
  for (; size >= 4; size /= 4) {
    const int64_t quarter = size / 4;
    butterflies<kWidth, false>(work, 0, quarter);
    for (int64_t j = 1; j < quarter; ++j) {
      butterflies<kWidth, true>(work, j, quarter);
    }
  }
  for (int64_t base = 0; size == 2 && base < length; base += 2) {
    float* const values = work.scratch + base * kSize;
    const Complex<kWidth> a = load<kWidth>(values);
    const Complex<kWidth> b = load<kWidth>(values + kSize);
    store(sum(a, b), values);
    store(difference(a, b), values + kSize);
  }
}

template <int64_t kWidth>
[[gnu::always_inline]] inline void store_power(const Complex<kWidth>& value, float* target,
                                               int64_t count) {
  store_lanes(value.real * value.real + value.imaginary * value.imaginary, target, count);
}

// The transform of the even samples plus i times that of the odd ones, taken apart and joined.
template <int64_t kWidth>
[[gnu::always_inline]] inline void store_powers(const Work& work, int64_t first) {
  const int64_t length = work.n_fft / 2;
  const int64_t count = std::min(kWidth, work.count - first);
  const Complex<kWidth> constant = load<kWidth>(work.scratch);
  const LanesOf<kWidth> zeros{};
  store_power<kWidth>({constant.real + constant.imaginary, zeros}, work.result + first, count);
  store_power<kWidth>({constant.real - constant.imaginary, zeros},
                      work.result + length * work.count + first, count);
  for (int64_t bin = 1; bin <= length / 2; ++bin) {
    const Complex<kWidth> a = load<kWidth>(work.scratch + work.places[bin] * 2 * kWidth);
    const Complex<kWidth> b = load<kWidth>(work.scratch + work.places[length - bin] * 2 * kWidth);
    const Complex<kWidth> even = {0.5F * (a.real + b.real), 0.5F * (a.imaginary - b.imaginary)};
    const Complex<kWidth> odd = {0.5F * (a.imaginary + b.imaginary), 0.5F * (b.real - a.real)};
    const Complex<kWidth> turned = product(odd, work.turns + 2 * bin);
    store_power(sum(even, turned), work.result + bin * work.count + first, count);
    store_power(difference(even, turned), work.result + (length - bin) * work.count + first, count);
  }
}

template <int64_t kWidth>
[[gnu::always_inline]] inline void run_inline(const Work& work) {
  for (int64_t first = 0; first < work.count; first += kWidth) {
    load_frames<kWidth>(work, first);
    transform<kWidth>(work);
    store_powers<kWidth>(work, first);
  }
}

#ifdef __x86_64__
[[gnu::target("avx2,fma")]] void run_avx2(const Work& work) { run_inline<kLanes>(work); }
[[UNBRAID_AVX512]] void run_avx512(const Work& work) { run_inline<kWideLanes>(work); }
#endif

void run(const Work& work) {
#ifdef __x86_64__
  if (simd() >= Simd::kAvx512 && work.n_fft >= kWideLanes) {
    run_avx512(work);
    return;
  }
  if (simd() >= Simd::kAvx2) {
    run_avx2(work);
    return;
  }
#endif
  run_inline<kLanes>(work);
}

}  // namespace

PowerSpectrum::PowerSpectrum(const torch::Tensor& window)
    : window_(window.data_ptr<float>(), window.data_ptr<float>() + window.numel()) {
  const auto n_fft = static_cast<int64_t>(window_.size());
  for (int64_t i = 0; i < n_fft; ++i) {
    const double angle = 2 * std::numbers::pi * static_cast<double>(i) / static_cast<double>(n_fft);
    turns_.push_back(static_cast<float>(std::cos(angle)));
    turns_.push_back(static_cast<float>(-std::sin(angle)));
  }
  // In the order of their bits reversed.
  places_.resize(static_cast<size_t>(n_fft / 2));
  for (size_t i = 1, bits = std::countr_zero(places_.size()); i < places_.size(); ++i) {
    places_[i] = places_[i / 2] / 2 + static_cast<int64_t>((i % 2) << (bits - 1));
  }
}

bool PowerSpectrum::takes(int64_t n_fft) {
  return n_fft >= kLanes && std::has_single_bit(static_cast<uint64_t>(n_fft));
}

torch::Tensor PowerSpectrum::operator()(const std::vector<float>& signal, int64_t hop,
                                        int64_t count) const {
  const auto n_fft = static_cast<int64_t>(window_.size());
  const torch::Tensor scratch = torch::empty({n_fft, kWideLanes});
  torch::Tensor result = torch::empty({n_fft / 2 + 1, count});
  run({.signal = signal.data(),
       .window = window_.data(),
       .turns = turns_.data(),
       .places = places_.data(),
       .n_fft = n_fft,
       .hop = hop,
       .count = count,
       .scratch = scratch.data_ptr<float>(),
       .result = result.data_ptr<float>()});
  return result;
}

}  // namespace unbraid
