#include "unbraid/core/random.h"

#include <cmath>
#include <numbers>

namespace unbraid {
namespace {

uint64_t mix(uint64_t value) {
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ULL;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebULL;
  return value ^ (value >> 31);
}

uint64_t absorb(uint64_t state, std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325ULL;  // FNV-1a, then mixed into the state
  for (const char character : text) {
    hash = (hash ^ static_cast<unsigned char>(character)) * 0x100000001b3ULL;
  }
  return mix(state ^ mix(hash + text.size()));
}

}  // namespace

RandomStream RandomStream::of(uint64_t seed, uint64_t epoch, std::string_view id,
                              std::string_view purpose) {
  uint64_t state = mix(seed + 0x9e3779b97f4a7c15ULL);
  state = mix(state ^ (epoch + 0x9e3779b97f4a7c15ULL));
  return RandomStream(absorb(absorb(state, id), purpose));
}

uint64_t RandomStream::bits() { return mix(state_ += 0x9e3779b97f4a7c15ULL); }

double RandomStream::uniform() { return static_cast<double>(bits() >> 11) * 0x1.0p-53; }

double RandomStream::uniform(double low, double high) { return low + (high - low) * uniform(); }

uint64_t RandomStream::below(uint64_t count) {
  const uint64_t unbiased_from = (0 - count) % count;
  uint64_t value = bits();
  while (value < unbiased_from) {
    value = bits();
  }
  return value % count;
}

double RandomStream::normal() {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
  return radius * std::cos(2.0 * std::numbers::pi * uniform());
}

}  // namespace unbraid
