#include "unbraid/media/resample.h"

#include <soxr.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <deque>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <type_traits>

#include <fmt/format.h>

#include "unbraid/core/error.h"
#include "unbraid/media/lanes.h"
#include "unbraid/media/limits.h"

namespace unbraid {
namespace {

// Of the original signal at the lower of both rates, on each side: libsoxr's filter reaches less
// than 99.
constexpr int64_t kReach = 99;
// What is summed at a time: as many sums as there are registers for. Four of these blocks before
// the next places, while their inputs are still near.
constexpr int64_t kPlaces = 3;
constexpr int64_t kPeriods = 4;
constexpr int64_t kNear = 4 * kPeriods;
constexpr int64_t kTogether = kWideLanes;  // weights of one place that lie side by side
using Four = float __attribute__((vector_size(4 * sizeof(float))));

/// `down` samples become `up`.
struct Ratio {
  int64_t up;
  int64_t down;

  bool operator==(const Ratio&) const = default;
};

/// Only where the table below stays small, and is soon made.
std::optional<Ratio> small_ratio(double from, double to) {
  constexpr int64_t kLargest = 1300;
  constexpr double kSteepest = 8;
  if (from != std::floor(from) || to != std::floor(to) || from > kSteepest * to) {
    return std::nullopt;
  }
  const auto down = static_cast<int64_t>(from);
  const auto up = static_cast<int64_t>(to);
  const int64_t divisor = std::gcd(down, up);
  // Of few places in a period, a multiple of those that are summed at a time.
  const int64_t factor = up / divisor < 8 * kPlaces ? kPlaces : 1;
  const Ratio ratio{factor * (up / divisor), factor * (down / divisor)};
  return std::max(ratio.up, ratio.down) <= kLargest ? std::optional(ratio) : std::nullopt;
}

template <typename T>
size_t run_soxr(double from, double to, const std::vector<T>& samples, T* result, size_t room,
                unsigned long flags, unsigned long quality_flags, const std::string& what) {
  const soxr_datatype_t type = std::is_same_v<T, float> ? SOXR_FLOAT32_I : SOXR_FLOAT64_I;
  const soxr_io_spec_t io = soxr_io_spec(type, type);
  const soxr_quality_spec_t quality = soxr_quality_spec(SOXR_HQ, quality_flags);
  soxr_runtime_spec_t runtime = soxr_runtime_spec(1);
  runtime.flags = flags;
  size_t written = 0;
  const soxr_error_t failure = soxr_oneshot(from, to, 1, samples.data(), samples.size(), nullptr,
                                            result, room, &written, &io, &quality, &runtime);
  if (failure != nullptr) {
    throw DataError(
        fmt::format("{}: cannot be resampled from {} to {} Hz: {}", what, from, to, failure));
  }
  return written;
}

/// What libsoxr does to a signal: output n = k * up + p is the sum of the `taps` inputs from
/// k * down + firsts[p / kPlaces] on, each times its weight: [p / kPlaces, tap / kTogether, p %
/// kPlaces, tap % kTogether]. Weights of places past the last are 0.
struct Response {
  Ratio ratio;
  int64_t reach;
  int64_t taps;
  std::vector<int64_t> firsts;
  std::vector<float> weights;
};

// Read off what becomes of one impulse for each place in a period, all of them far apart.
std::shared_ptr<const Response> measure(const Ratio& ratio) {
  const auto [up, down] = ratio;
  const int64_t reach = (kReach * std::max(up, down) + up - 1) / up;
  const int64_t spread = (kPlaces - 1) * down / up + 1;  // from the first place to the last
  const int64_t taps = (2 * reach + spread + kTogether - 1) / kTogether * kTogether;
  auto response = std::make_shared<Response>(Response{ratio, reach, taps, {}, {}});
  for (int64_t p = 0; p < up; p += kPlaces) {
    response->firsts.push_back(p * down / up - reach + 1);
  }
  const int64_t periods = 2 * taps / down + 1;  // between two impulses
  const int64_t spacing = periods * down + 1;
  const int64_t lead = 2 * periods * down;
  std::vector<double> impulses(static_cast<size_t>(down * spacing + 2 * lead));
  for (int64_t i = 0; i < down; ++i) {
    impulses[static_cast<size_t>(lead + i * spacing)] = 1;
  }
  std::vector<double> result(impulses.size() * static_cast<size_t>(up) / static_cast<size_t>(down) +
                             1);
  run_soxr(static_cast<double>(down), static_cast<double>(up), impulses, result.data(),
           result.size(), 0, SOXR_DOUBLE_PRECISION, "impulses");
  response->weights.resize(response->firsts.size() * static_cast<size_t>(kPlaces * taps));
  for (int64_t p = 0; p < up; ++p) {
    const int64_t first = response->firsts[static_cast<size_t>(p / kPlaces)];
    for (int64_t tap = 0; tap < taps; ++tap) {
      // The impulse and the period that are `first + tap` apart.
      const int64_t apart = first + tap;
      const int64_t impulse = ((apart % down) + down) % down;
      const int64_t period = (lead + impulse * spacing - apart) / down;
      const int64_t row =
          (p / kPlaces * (taps / kTogether) + tap / kTogether) * kPlaces + p % kPlaces;
      response->weights[static_cast<size_t>(row * kTogether + tap % kTogether)] =
          static_cast<float>(result[static_cast<size_t>(period * up + p)]);
    }
  }
  return response;
}

// Those that were used last, for every thread.
std::shared_ptr<const Response> response_of(const Ratio& ratio) {
  constexpr size_t kMost = 8;
  static std::mutex mutex;
  static std::deque<std::shared_ptr<const Response>> known;
  const std::lock_guard lock(mutex);
  const auto place = std::find_if(known.begin(), known.end(),
                                  [&](const auto& other) { return other->ratio == ratio; });
  std::shared_ptr<const Response> response = place == known.end() ? measure(ratio) : *place;
  if (place != known.end()) {
    known.erase(place);
  }
  known.push_front(response);
  known.resize(std::min(known.size(), kMost));
  return response;
}

// The sums of the lanes of four vectors.
[[gnu::always_inline]] inline Four totals_of(const Lanes& a, const Lanes& b, const Lanes& c,
                                             const Lanes& d) {
  // Pairs of lanes of a and b, of c and d; then what is left of all four.
  const Lanes ab = __builtin_shufflevector(a, b, 0, 8, 1, 9, 4, 12, 5, 13) +
                   __builtin_shufflevector(a, b, 2, 10, 3, 11, 6, 14, 7, 15);
  const Lanes cd = __builtin_shufflevector(c, d, 0, 8, 1, 9, 4, 12, 5, 13) +
                   __builtin_shufflevector(c, d, 2, 10, 3, 11, 6, 14, 7, 15);
  const Lanes all = __builtin_shufflevector(ab, cd, 0, 1, 8, 9, 4, 5, 12, 13) +
                    __builtin_shufflevector(ab, cd, 2, 3, 10, 11, 6, 7, 14, 15);
  return __builtin_shufflevector(all, all, 0, 1, 2, 3) +
         __builtin_shufflevector(all, all, 4, 5, 6, 7);
}

// In a register: what is read across lines of the cache would be read for each of its products.
[[gnu::always_inline]] inline void keep(const Lanes& /*lanes*/) {}
[[gnu::always_inline]] inline void keep([[maybe_unused]] LanesOf<kWideLanes>& lanes) {
#if defined(__x86_64__) && !defined(__clang__)
  asm("" : "+v"(lanes));
#endif
}

[[gnu::always_inline]] inline void halve(const Lanes& lanes, Lanes& result) { result = lanes; }
[[gnu::always_inline]] inline void halve(const LanesOf<kWideLanes>& lanes, Lanes& result) {
  result = __builtin_shufflevector(lanes, lanes, 0, 1, 2, 3, 4, 5, 6, 7) +
           __builtin_shufflevector(lanes, lanes, 8, 9, 10, 11, 12, 13, 14, 15);
}

// Places from `p` on of kPeriods periods; `inputs` and `result` begin with the first of both.
template <int64_t kWidth>
[[gnu::always_inline]] inline void apply_block(const Response& response, int64_t p,
                                               const float* inputs, float* result) {
  const auto [up, down] = response.ratio;
  const float* weights = response.weights.data() + p * response.taps;
  using Wide = LanesOf<kWidth>;
  std::array<std::array<Wide, kPeriods>, kPlaces> sums{};
  for (int64_t tap = 0; tap < response.taps; tap += kTogether, weights += kPlaces * kTogether) {
    for (int64_t part = 0; part < kTogether; part += kWidth) {
      // By name: through an array, GCC 12 goes by way of the stack.
      Wide first, second, third;
      load_lanes(weights + part, first);
      load_lanes(weights + part + kTogether, second);
      load_lanes(weights + part + 2 * kTogether, third);
      for (size_t period = 0; period < kPeriods; ++period) {
        Wide values;
        load_lanes(inputs + static_cast<int64_t>(period) * down + tap + part, values);
        keep(values);
        sums[0][period] += first * values;
        sums[1][period] += second * values;
        sums[2][period] += third * values;
      }
    }
  }
  for (size_t place = 0; place < kPlaces; ++place) {
    Lanes a, b, c, d;
    halve(sums[place][0], a);
    halve(sums[place][1], b);
    halve(sums[place][2], c);
    halve(sums[place][3], d);
    const Four totals = totals_of(a, b, c, d);
    float* const target = result + place;
    for (int64_t period = 0; period < kPeriods && p + static_cast<int64_t>(place) < up; ++period) {
      target[period * up] = totals[period];
    }
  }
}

// `periods` periods, a multiple of kPeriods. `samples` is what `firsts` counts from.
template <int64_t kWidth>
[[gnu::always_inline]] inline void apply_inline(const Response& response, const float* samples,
                                                int64_t periods, float* result) {
  const auto [up, down] = response.ratio;
  for (int64_t near = 0; near < periods; near += kNear) {
    const int64_t end = std::min(near + kNear, periods);
    for (int64_t p = 0; p < up; p += kPlaces) {
      const float* const inputs = samples + response.firsts[static_cast<size_t>(p / kPlaces)];
      for (int64_t period = near; period < end; period += kPeriods) {
        apply_block<kWidth>(response, p, inputs + period * down, result + period * up + p);
      }
    }
  }
}

#ifdef __x86_64__
[[gnu::target("avx2,fma")]] void apply_avx2(const Response& response, const float* samples,
                                            int64_t periods, float* result) {
  apply_inline<kLanes>(response, samples, periods, result);
}

[[UNBRAID_AVX512]] void apply_avx512(const Response& response, const float* samples,
                                     int64_t periods, float* result) {
  apply_inline<kWideLanes>(response, samples, periods, result);
}
#endif

void apply(const Response& response, const float* samples, int64_t periods, float* result) {
#ifdef __x86_64__
  if (simd() >= Simd::kAvx512) {
    apply_avx512(response, samples, periods, result);
    return;
  }
  if (simd() >= Simd::kAvx2) {
    apply_avx2(response, samples, periods, result);
    return;
  }
#endif
  apply_inline<kLanes>(response, samples, periods, result);
}

torch::Tensor filtered(const Response& response, const std::vector<float>& samples, int64_t count) {
  const auto [up, down] = response.ratio;
  const int64_t periods = (count / up + kPeriods) / kPeriods * kPeriods;
  const auto size = static_cast<int64_t>(samples.size());
  std::vector<float> padded(
      static_cast<size_t>(response.taps + std::max(size, periods * down) + response.taps));
  std::copy(samples.begin(), samples.end(), padded.begin() + response.reach);
  torch::Tensor result = torch::empty({periods * up});
  apply(response, padded.data() + response.reach, periods, result.data_ptr<float>());
  return result.narrow(0, 0, count);
}

}  // namespace

torch::Tensor resample(const std::vector<float>& samples, double from, double to,
                       const std::string& path) {
  if (from == to) {
    return torch::tensor(samples);
  }
  const double exact = static_cast<double>(samples.size()) * to / from;
  DecodeBudget::require_memory(static_cast<int64_t>(exact * sizeof(float)), path);
  const auto ratio = small_ratio(from, to);
  torch::Tensor result;
  if (ratio) {
    // As libsoxr rounds it.
    const double places = static_cast<double>(samples.size()) / (from / to);
    const auto count = static_cast<int64_t>(places + 0.5);  // NOLINT(bugprone-incorrect-roundings)
    result = filtered(*response_of(*ratio), samples, count);
  } else {
    result = torch::empty({static_cast<int64_t>(std::ceil(exact)) + 1});
    const size_t written =
        run_soxr(from, to, samples, result.data_ptr<float>(), static_cast<size_t>(result.numel()),
                 SOXR_COEF_INTERP_HIGH,  // of equal precision, and sooner set up for a short clip
                 0, path);
    result = result.narrow(0, 0, static_cast<int64_t>(written));
  }
  if (result.numel() == 0) {
    throw DataError(fmt::format("{}: too short: {} frames at {} Hz", path, samples.size(), from));
  }
  return result;
}

}  // namespace unbraid
