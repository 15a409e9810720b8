#include "unbraid/models/kernels/norm_kernels.h"

#include <cstring>
#include <utility>

#define UNBRAID_INLINE [[gnu::always_inline]] inline

namespace unbraid::kernels {
namespace {

using Vec = float __attribute__((vector_size(64)));
using IntVec = int32_t __attribute__((vector_size(64)));
using WordVec = uint32_t __attribute__((vector_size(64)));
using HalfVec = uint16_t __attribute__((vector_size(32)));
using ByteVec = uint8_t __attribute__((vector_size(16)));

template <typename To, typename From>
UNBRAID_INLINE To read(const From* source) {
  To value;
  std::memcpy(&value, source, sizeof(value));
  return value;
}

UNBRAID_INLINE Vec load(const float* source) { return read<Vec>(source); }

UNBRAID_INLINE Vec load(const BFloat16Bits* source) {
  return reinterpret_cast<Vec>(__builtin_convertvector(read<HalfVec>(source), WordVec) << 16);
}

UNBRAID_INLINE void store(float* target, Vec value) { std::memcpy(target, &value, sizeof(value)); }

UNBRAID_INLINE void store(BFloat16Bits* target, Vec value) {
  // Rounds to the nearest, ties to even; a NaN keeps its sign and stays a NaN.
  const WordVec bits = reinterpret_cast<WordVec>(value);
  const WordVec rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  const WordVec nan = (bits >> 16) | 0x40;
  const HalfVec half = __builtin_convertvector(value == value ? rounded : nan, HalfVec);
  std::memcpy(target, &half, sizeof(half));
}

UNBRAID_INLINE Vec zero() { return Vec{}; }

// NaN passes, as in torch.relu and its gradient.
UNBRAID_INLINE Vec where_positive(Vec condition, Vec value) {
  return condition <= 0 ? zero() : value;
}
UNBRAID_INLINE Vec relu(Vec value) { return where_positive(value, value); }

struct AffineVec {
  Vec scale;
  Vec shift;

  UNBRAID_INLINE explicit AffineVec(Affine affine)
      : scale(load(affine.scale)), shift(load(affine.shift)) {}
  UNBRAID_INLINE Vec operator()(Vec x) const { return x * scale + shift; }
};

struct InputGradientVec {
  Vec mean;
  Vec dz_scale;
  Vec x_scale;
  Vec shift;

  UNBRAID_INLINE explicit InputGradientVec(InputGradient gradient)
      : mean(load(gradient.mean)),
        dz_scale(load(gradient.dz_scale)),
        x_scale(load(gradient.x_scale)),
        shift(load(gradient.shift)) {}
  UNBRAID_INLINE Vec operator()(Vec dz, Vec x) const {
    return dz * dz_scale + ((x - mean) * x_scale + shift);
  }
};

// Sums are kept in as many registers as a loop is unrolled to.
constexpr int kUnroll = 4;
using Sums = Vec[kUnroll];

UNBRAID_INLINE Vec total(const Sums& sums) { return (sums[0] + sums[1]) + (sums[2] + sums[3]); }

template <typename Body, int... kLanes>
UNBRAID_INLINE void for_lanes(int64_t offset, const Body& body,
                              std::integer_sequence<int, kLanes...>) {
  (body(offset + kLanes * kBlock, kLanes), ...);
}

// body(offset of a pixel, which of the sums it adds to)
template <typename Body>
UNBRAID_INLINE void for_pixels(int64_t pixels, const Body& body) {
  int64_t pixel = 0;
  for (; pixel + kUnroll <= pixels; pixel += kUnroll) {
    for_lanes(pixel * kBlock, body, std::make_integer_sequence<int, kUnroll>());
  }
  for (; pixel < pixels; ++pixel) {
    body(pixel * kBlock, 0);
  }
}

int64_t half_up(int64_t size) { return (size + 1) / 2; }

template <bool kHasDy2, bool kHasR, typename T>
void add_relu_backward(const AddReluBackward<T>& p, int64_t pixels) {
  const Vec mean = load(p.mean);
  const Vec r_mean = kHasR ? load(p.r_mean) : zero();
  Sums sum_dz = {};
  Sums sum_dz_x = {};
  Sums sum_dz_r = {};
  for_pixels(
      pixels, [&](int64_t i, int lane) __attribute__((always_inline)) {
        Vec dz = load(p.dy1 + i);
        if constexpr (kHasDy2) {
          dz += load(p.dy2 + i);
        }
        dz = where_positive(load(p.y + i), dz);
        store(p.dz + i, dz);
        sum_dz[lane] += dz;
        sum_dz_x[lane] += dz * (load(p.x + i) - mean);
        if constexpr (kHasR) {
          sum_dz_r[lane] += dz * (load(p.r + i) - r_mean);
        }
      });
  store(p.sum_dz, total(sum_dz));
  store(p.sum_dz_x, total(sum_dz_x));
  if constexpr (kHasR) {
    store(p.sum_dz_r, total(sum_dz_r));
  }
}

}  // namespace

template <typename T>
void plane_sum(const T* x, int64_t pixels, float* sum) {
  Sums sums = {};
  for_pixels(
      pixels, [&](int64_t i, int lane)
                  __attribute__((always_inline)) { sums[lane] += load(x + i); });
  store(sum, total(sums));
}

template <typename T>
void plane_fill(const float* value, int64_t pixels, T* x) {
  const Vec filling = load(value);
  for (int64_t i = 0; i < pixels; ++i) {
    store(x + i * kBlock, filling);
  }
}

template <typename T>
void plane_moments(const T* x, int64_t pixels, float* mean, float* squares) {
  plane_sum(x, pixels, mean);
  const Vec centre = load(mean) / static_cast<float>(pixels);
  // The plane is in cache still: a second pass costs little and keeps a large mean from cancelling.
  Sums sums = {};
  for_pixels(
      pixels, [&](int64_t i, int lane) __attribute__((always_inline)) {
        const Vec deviation = load(x + i) - centre;
        sums[lane] += deviation * deviation;
      });
  store(mean, centre);
  store(squares, total(sums));
}

template <typename T>
void plane_norm_relu(const T* x, int64_t pixels, Affine affine, T* y) {
  const AffineVec norm(affine);
  for_pixels(
      pixels, [&](int64_t i, int)
                  __attribute__((always_inline)) { store(y + i, relu(norm(load(x + i)))); });
}

template <typename T>
void plane_norm_add_relu(const T* x, Affine affine, const T* r, const Affine* r_affine,
                         int64_t pixels, T* y) {
  const AffineVec norm(affine);
  const Vec r_scale = r_affine ? load(r_affine->scale) : zero() + 1;
  const Vec r_shift = r_affine ? load(r_affine->shift) : zero();
  for_pixels(
      pixels, [&](int64_t i, int) __attribute__((always_inline)) {
        store(y + i, relu(load(r + i) * r_scale + (norm(load(x + i)) + r_shift)));
      });
}

template <typename T>
void plane_norm_relu_backward_sums(const T* dy, const T* x, int64_t pixels, Affine affine,
                                   const float* mean, float* sum_dz, float* sum_dz_x) {
  const AffineVec norm(affine);
  const Vec centre = load(mean);
  Sums sums = {};
  Sums sums_x = {};
  for_pixels(
      pixels, [&](int64_t i, int lane) __attribute__((always_inline)) {
        const Vec value = load(x + i);
        const Vec dz = where_positive(norm(value), load(dy + i));
        sums[lane] += dz;
        sums_x[lane] += dz * (value - centre);
      });
  store(sum_dz, total(sums));
  store(sum_dz_x, total(sums_x));
}

template <typename T>
void plane_norm_relu_backward(const T* dy, const T* x, int64_t pixels, Affine affine,
                              InputGradient gradient, T* dx) {
  const AffineVec norm(affine);
  const InputGradientVec input_gradient(gradient);
  for_pixels(
      pixels, [&](int64_t i, int) __attribute__((always_inline)) {
        const Vec value = load(x + i);
        store(dx + i, input_gradient(where_positive(norm(value), load(dy + i)), value));
      });
}

template <typename T>
void plane_norm_backward(const T* dz, const T* x, int64_t pixels, InputGradient gradient, T* dx) {
  const InputGradientVec input_gradient(gradient);
  for_pixels(
      pixels, [&](int64_t i, int) __attribute__((always_inline)) {
        store(dx + i, input_gradient(load(dz + i), load(x + i)));
      });
}

template <typename T>
void plane_add_relu_backward(const AddReluBackward<T>& plane, int64_t pixels) {
  if (plane.dy2 && plane.r) {
    add_relu_backward<true, true>(plane, pixels);
  } else if (plane.dy2) {
    add_relu_backward<true, false>(plane, pixels);
  } else if (plane.r) {
    add_relu_backward<false, true>(plane, pixels);
  } else {
    add_relu_backward<false, false>(plane, pixels);
  }
}

template <typename T>
void plane_norm_relu_pool(const T* x, int64_t height, int64_t width, Affine affine, T* y, T* x_max,
                          uint8_t* position) {
  const AffineVec norm(affine);
  for (int64_t out_row = 0; out_row < half_up(height); ++out_row) {
    for (int64_t out_column = 0; out_column < half_up(width); ++out_column) {
      Vec best = zero() - __builtin_inff();
      Vec best_x = zero();
      IntVec best_place = {};
      for (int place = 0; place < 9; ++place) {
        const int64_t row = out_row * 2 - 1 + place / 3;
        const int64_t column = out_column * 2 - 1 + place % 3;
        if (row < 0 || row >= height || column < 0 || column >= width) {
          continue;
        }
        const Vec value = load(x + (row * width + column) * kBlock);
        const Vec normed = norm(value);
        const IntVec better = (normed > best) | (normed != normed);
        best = better ? normed : best;
        best_x = better ? value : best_x;
        best_place = better ? IntVec{} + place : best_place;
      }
      store(y, relu(best));
      store(x_max, best_x);
      const ByteVec bytes = __builtin_convertvector(best_place, ByteVec);
      std::memcpy(position, &bytes, sizeof(bytes));
      y += kBlock;
      x_max += kBlock;
      position += kBlock;
    }
  }
}

template <typename T>
void plane_norm_relu_pool_backward(const T* dz, const uint8_t* position, const T* x, int64_t height,
                                   int64_t width, InputGradient gradient, T* dx) {
  const InputGradientVec input_gradient(gradient);
  const int64_t out_height = half_up(height);
  const int64_t out_width = half_up(width);
  for (int64_t row = 0; row < height; ++row) {
    for (int64_t column = 0; column < width; ++column) {
      Vec sum = zero();
      for (int64_t out_row = row / 2; out_row <= (row + 1) / 2 && out_row < out_height; ++out_row) {
        for (int64_t out_column = column / 2;
             out_column <= (column + 1) / 2 && out_column < out_width; ++out_column) {
          const auto place = static_cast<int32_t>((row - out_row * 2 + 1) * 3 +  //
                                                  (column - out_column * 2 + 1));
          const int64_t out = (out_row * out_width + out_column) * kBlock;
          const IntVec best_place = __builtin_convertvector(read<ByteVec>(position + out), IntVec);
          sum += best_place == place ? load(dz + out) : zero();
        }
      }
      const int64_t i = (row * width + column) * kBlock;
      store(dx + i, input_gradient(sum, load(x + i)));
    }
  }
}

template <typename T>
void plane_subsample(const T* x, int64_t height, int64_t width, T* y) {
  for (int64_t row = 0; row < height; row += 2) {
    for (int64_t column = 0; column < width; column += 2, y += kBlock) {
      std::memcpy(y, x + (row * width + column) * kBlock, kBlock * sizeof(T));
    }
  }
}

template <typename T>
void plane_add_subsampled(const T* y, int64_t height, int64_t width, T* x) {
  for (int64_t row = 0; row < height; row += 2) {
    for (int64_t column = 0; column < width; column += 2, y += kBlock) {
      T* pixel = x + (row * width + column) * kBlock;
      store(pixel, load(pixel) + load(y));
    }
  }
}

#define UNBRAID_INSTANTIATE(T)                                                                  \
  template void plane_moments<T>(const T*, int64_t, float*, float*);                            \
  template void plane_sum<T>(const T*, int64_t, float*);                                        \
  template void plane_fill<T>(const float*, int64_t, T*);                                       \
  template void plane_norm_relu<T>(const T*, int64_t, Affine, T*);                              \
  template void plane_norm_add_relu<T>(const T*, Affine, const T*, const Affine*, int64_t, T*); \
  template void plane_norm_relu_backward_sums<T>(const T*, const T*, int64_t, Affine,           \
                                                 const float*, float*, float*);                 \
  template void plane_norm_relu_backward<T>(const T*, const T*, int64_t, Affine, InputGradient, \
                                            T*);                                                \
  template void plane_norm_backward<T>(const T*, const T*, int64_t, InputGradient, T*);         \
  template void plane_add_relu_backward<T>(const AddReluBackward<T>&, int64_t);                 \
  template void plane_norm_relu_pool<T>(const T*, int64_t, int64_t, Affine, T*, T*, uint8_t*);  \
  template void plane_norm_relu_pool_backward<T>(const T*, const uint8_t*, const T*, int64_t,   \
                                                 int64_t, InputGradient, T*);                   \
  template void plane_subsample<T>(const T*, int64_t, int64_t, T*);                             \
  template void plane_add_subsampled<T>(const T*, int64_t, int64_t, T*);

UNBRAID_INSTANTIATE(float)
UNBRAID_INSTANTIATE(BFloat16Bits)

}  // namespace unbraid::kernels
