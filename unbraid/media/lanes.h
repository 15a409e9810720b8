#pragma once

#include <array>
#include <cstdint>
#include <cstring>

namespace unbraid {

/// Eight floats that are added and multiplied at once, through the compiler's vectors: one register
/// with AVX2, two without. Loops over them are inlined in a function for each kind of machine.
inline constexpr int64_t kLanes = 8;
using Lanes = float __attribute__((vector_size(kLanes * sizeof(float))));

// Not returned, which without AVX would be another calling convention.
[[gnu::always_inline]] inline void load_lanes(const float* values, Lanes& lanes) {
  std::memcpy(&lanes, values, sizeof(Lanes));
}

[[gnu::always_inline]] inline void store_lanes(const Lanes& lanes, float* values) {
  std::memcpy(values, &lanes, sizeof(Lanes));
}

/// The first `count` of `lanes`, 1 to kLanes.
[[gnu::always_inline]] inline void store_lanes(const Lanes& lanes, float* values, int64_t count) {
  if (count == kLanes) {
    store_lanes(lanes, values);
  } else {
    std::memcpy(values, &lanes, static_cast<size_t>(count) * sizeof(float));
  }
}

/// Row i becomes lane i of every row.
[[gnu::always_inline]] inline void transpose(std::array<Lanes, kLanes>& rows) {
  // Pairs of rows, of pairs, of halves.
  std::array<Lanes, kLanes> pairs;
  for (size_t i = 0; i < kLanes; i += 2) {
    pairs[i] = __builtin_shufflevector(rows[i], rows[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    pairs[i + 1] = __builtin_shufflevector(rows[i], rows[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  std::array<Lanes, kLanes> fours;
  for (size_t i = 0; i < kLanes; i += 4) {
    for (size_t j = 0; j < 2; ++j) {
      const Lanes& low = pairs[i + j];
      const Lanes& high = pairs[i + j + 2];
      fours[i + 2 * j] = __builtin_shufflevector(low, high, 0, 1, 8, 9, 4, 5, 12, 13);
      fours[i + 2 * j + 1] = __builtin_shufflevector(low, high, 2, 3, 10, 11, 6, 7, 14, 15);
    }
  }
  for (size_t i = 0; i < kLanes / 2; ++i) {
    rows[i] = __builtin_shufflevector(fours[i], fours[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    rows[i + 4] = __builtin_shufflevector(fours[i], fours[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
}

/// Whether the machine takes what was compiled for AVX2 with FMA.
inline bool has_avx2() {
#ifdef __x86_64__
  return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
#else
  return false;
#endif
}

}  // namespace unbraid
