#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <utility>

namespace unbraid {

inline constexpr int64_t kLanes = 8;
inline constexpr int64_t kWideLanes = 16;

template <int64_t kCount>
struct VectorOf;
template <>
struct VectorOf<kLanes> {
  using Type = float __attribute__((vector_size(kLanes * sizeof(float))));
};
template <>
struct VectorOf<kWideLanes> {
  using Type = float __attribute__((vector_size(kWideLanes * sizeof(float))));
};

/// Floats that are added and multiplied at once, through the compiler's vectors: 16 are a register
/// with AVX-512, 8 one with AVX2 and two without. Loops over them are inlined in a function for
/// each kind of machine.
template <int64_t kCount>
using LanesOf = typename VectorOf<kCount>::Type;
using Lanes = LanesOf<kLanes>;

/// Of a function for machines with Simd::kAvx512.
#define UNBRAID_AVX512 gnu::target("avx512f,avx512bw,avx512dq,avx512vl,fma")

// Not returned, which without AVX would be another calling convention.
template <typename AnyLanes>
[[gnu::always_inline]] inline void load_lanes(const float* values, AnyLanes& lanes) {
  std::memcpy(&lanes, values, sizeof(AnyLanes));
}

template <typename AnyLanes>
[[gnu::always_inline]] inline void store_lanes(const AnyLanes& lanes, float* values) {
  std::memcpy(values, &lanes, sizeof(AnyLanes));
}

/// The first `count` of `lanes`, 1 to all.
template <typename AnyLanes>
[[gnu::always_inline]] inline void store_lanes(const AnyLanes& lanes, float* values,
                                               int64_t count) {
  if (static_cast<size_t>(count) * sizeof(float) == sizeof(AnyLanes)) {
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

// Of two rows the lanes from kFirst on, in turns.
template <size_t kFirst, size_t... kPlaces>
[[gnu::always_inline]] inline void interleave(const LanesOf<kWideLanes>& a,
                                              const LanesOf<kWideLanes>& b,
                                              LanesOf<kWideLanes>& result,
                                              std::index_sequence<kPlaces...> /*places*/) {
  result = __builtin_shufflevector(a, b, (kFirst + kPlaces / 2 + kPlaces % 2 * kWideLanes)...);
}

[[gnu::always_inline]] inline void transpose(std::array<LanesOf<kWideLanes>, kWideLanes>& rows) {
  constexpr size_t kHalf = kWideLanes / 2;
  constexpr auto kPlaces = std::make_index_sequence<kWideLanes>();
  // Every time the numbers of row and lane, one after the other, are turned by a bit.
  for (size_t turned = 1; turned < kWideLanes; turned *= 2) {
    std::array<LanesOf<kWideLanes>, kWideLanes> next;
    for (size_t i = 0; i < kHalf; ++i) {
      interleave<0>(rows[i], rows[i + kHalf], next[2 * i], kPlaces);
      interleave<kHalf>(rows[i], rows[i + kHalf], next[2 * i + 1], kPlaces);
    }
    rows = next;
  }
}

/// Instructions that kernels are compiled for.
enum class Simd { kNone, kAvx2, kAvx512 };

/// The best that the machine has; the environment's UNBRAID_SIMD = "none" or "avx2" holds it to
/// less, so that all can be tested on one machine.
Simd simd();

}  // namespace unbraid
