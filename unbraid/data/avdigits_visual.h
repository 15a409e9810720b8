#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "unbraid/core/random.h"
#include "unbraid/data/avdigits_glyphs.h"
#include "unbraid/data/manifest.h"

namespace unbraid::avdigits {

inline constexpr int kImageSide = 32;  // pixels

/// The writing of one split. Thread-safe once built.
class Scribe {
 public:
  /// Throws DataError when a font is missing.
  Scribe(Split split, uint64_t seed);
  /// `digit` in a random font or hand.
  [[nodiscard]] Glyph write(int digit, RandomStream& random) const;

 private:
  Split split_;
  uint64_t seed_;
  std::vector<std::array<Glyph, 10>> fonts_;
};

/// A picture of `digit`, kImageSide x kImageSide, 0 = black, 255 = white, row by row: moved,
/// turned, bent, cluttered, faded and noisy in proportion to `difficulty`, which at 0 leaves the
/// style alone random.
std::vector<uint8_t> paint(int digit, const Scribe& scribe, double difficulty,
                           RandomStream& random);

}  // namespace unbraid::avdigits
