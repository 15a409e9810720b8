#include "unbraid/media/resample.h"

#include <soxr.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <type_traits>

#include <fmt/format.h>

#include "unbraid/core/error.h"
#include "unbraid/media/limits.h"

namespace unbraid {
namespace {

// Of the original signal at the lower of both rates, on each side: libsoxr's filter reaches less
// than 99.
constexpr int64_t kReach = 100;
constexpr int64_t kLanes = 8;
constexpr int64_t kPeriods = 8;  // at a time
using Lanes = float __attribute__((vector_size(kLanes * sizeof(float))));
using Four = float __attribute__((vector_size(4 * sizeof(float))));

/// `down` samples become `up`, in lowest terms.
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
  const Ratio ratio{up / divisor, down / divisor};
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
/// k * down + firsts[p] on, each times its weight from weights[p * taps] on.
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
  const int64_t reach = kReach * std::max(up, down) / up + 1;
  const int64_t taps = (2 * reach + kLanes - 1) / kLanes * kLanes;
  auto response = std::make_shared<Response>(Response{ratio, reach, taps, {}, {}});
  for (int64_t p = 0; p < up; ++p) {
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
  response->weights.resize(static_cast<size_t>(up * taps));
  for (int64_t p = 0; p < up; ++p) {
    for (int64_t tap = 0; tap < taps; ++tap) {
      // The impulse and the period that are `firsts[p] + tap` apart.
      const int64_t apart = response->firsts[static_cast<size_t>(p)] + tap;
      const int64_t impulse = ((apart % down) + down) % down;
      const int64_t period = (lead + impulse * spacing - apart) / down;
      response->weights[static_cast<size_t>(p * taps + tap)] =
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

[[gnu::always_inline]] inline void add(const Lanes& weights, const float* values, Lanes& sums) {
  Lanes lanes;
  std::memcpy(&lanes, values, sizeof(lanes));
  sums += weights * lanes;
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

// `periods` periods, a multiple of kPeriods. `samples` is what firsts[p] counts from.
[[gnu::always_inline]] inline void apply_inline(const Response& response, const float* samples,
                                                int64_t periods, float* result) {
  const auto [up, down] = response.ratio;
  for (int64_t period = 0; period < periods; period += kPeriods) {
    const float* weights = response.weights.data();
    for (int64_t p = 0; p < up; ++p) {
      const float* inputs = samples + period * down + response.firsts[static_cast<size_t>(p)];
      Lanes a{}, b{}, c{}, d{}, e{}, f{}, g{}, h{};  // one for each period
      for (int64_t tap = 0; tap < response.taps; tap += kLanes) {
        Lanes weight;
        std::memcpy(&weight, weights, sizeof(weight));
        add(weight, inputs, a);
        add(weight, inputs + down, b);
        add(weight, inputs + 2 * down, c);
        add(weight, inputs + 3 * down, d);
        add(weight, inputs + 4 * down, e);
        add(weight, inputs + 5 * down, f);
        add(weight, inputs + 6 * down, g);
        add(weight, inputs + 7 * down, h);
        inputs += kLanes;
        weights += kLanes;
      }
      const Four first = totals_of(a, b, c, d);
      const Four second = totals_of(e, f, g, h);
      float* const outputs = result + period * up + p;
      for (int64_t i = 0; i < 4; ++i) {
        outputs[i * up] = first[i];
        outputs[(i + 4) * up] = second[i];
      }
    }
  }
}

#ifdef __x86_64__
[[gnu::target("avx2,fma")]] void apply_avx2(const Response& response, const float* samples,
                                            int64_t periods, float* result) {
  apply_inline(response, samples, periods, result);
}
#endif

void apply(const Response& response, const float* samples, int64_t periods, float* result) {
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0) {
    apply_avx2(response, samples, periods, result);
    return;
  }
#endif
  apply_inline(response, samples, periods, result);
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
    const auto count =
        static_cast<int64_t>(static_cast<double>(samples.size()) / (from / to) + 0.5);
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
