#include "unbraid/media/log_magnitude.h"

#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <numbers>

#ifdef __x86_64__
#include <xmmintrin.h>
#endif

#include "unbraid/media/lanes.h"

namespace unbraid {
namespace {

using Integers = int32_t __attribute__((vector_size(sizeof(Lanes))));

[[gnu::always_inline]] inline void take_root(Lanes& values) {
#ifdef __x86_64__
  const __m128 low = _mm_sqrt_ps(__builtin_shufflevector(values, values, 0, 1, 2, 3));
  const __m128 high = _mm_sqrt_ps(__builtin_shufflevector(values, values, 4, 5, 6, 7));
  values = __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7);
#else
  for (int64_t i = 0; i < kLanes; ++i) {
    values[i] = std::sqrt(values[i]);
  }
#endif
}

// value = 2^exponent * (1 + x) with 1 + x between sqrt(1/2) and sqrt(2); ln(1 + x) = 2 artanh(s),
// s = x / (2 + x), by its series, whose first term left out is below 2^-27 of the sum.
[[gnu::always_inline]] inline void take_logarithm(Lanes& values) {
  constexpr int32_t kRootOfHalf = 0x3f3504f3;  // the bits of that float
  constexpr int32_t kOne = 0x3f800000;
  constexpr int32_t kMantissa = 0x007fffff;
  Integers bits;
  std::memcpy(&bits, &values, sizeof(bits));
  const Integers shifted = bits + (kOne - kRootOfHalf);
  const Lanes exponent = __builtin_convertvector((shifted >> 23) - 127, Lanes);
  const Integers scaled = (shifted & kMantissa) + kRootOfHalf;
  Lanes mantissa;
  std::memcpy(&mantissa, &scaled, sizeof(mantissa));
  const Lanes x = mantissa - 1.0F;
  const Lanes s = x / (x + 2.0F);
  const Lanes t = s * s;
  const Lanes rest = t * (2.0F / 3 + t * (2.0F / 5 + t * (2.0F / 7 + t * (2.0F / 9))));
  // ln 2 in two parts, of which exponent * the first is exact.
  constexpr float kLn2 = 0.693359375F;
  constexpr auto kLn2Rest = static_cast<float>(std::numbers::ln2 - kLn2);
  // 2 s + s rest, where 2 s = x - s x loses nothing of x.
  values = exponent * kLn2 + (x + (s * (rest - x) + exponent * kLn2Rest));
}

[[gnu::always_inline]] inline void run_inline(float* powers, int64_t count, float offset) {
  constexpr float kSmallest = std::numeric_limits<float>::min();
  for (int64_t i = 0; i < count; i += kLanes) {
    std::array<float, kLanes> last{};
    const bool whole = i + kLanes <= count;
    if (!whole) {
      std::memcpy(last.data(), powers + i, static_cast<size_t>(count - i) * sizeof(float));
    }
    Lanes values;
    load_lanes(whole ? powers + i : last.data(), values);
    take_root(values);
    values += offset;
    values = values > kSmallest ? values : Lanes{} + kSmallest;
    take_logarithm(values);
    store_lanes(values, powers + i, whole ? kLanes : count - i);
  }
}

#ifdef __x86_64__
[[gnu::target("avx2,fma")]] void run_avx2(float* powers, int64_t count, float offset) {
  run_inline(powers, count, offset);
}
#endif

}  // namespace

void log_magnitude(float* powers, int64_t count, float offset) {
#ifdef __x86_64__
  if (simd() >= Simd::kAvx2) {
    run_avx2(powers, count, offset);
    return;
  }
#endif
  run_inline(powers, count, offset);
}

}  // namespace unbraid
