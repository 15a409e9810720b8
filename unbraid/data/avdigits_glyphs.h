#pragma once

#include <array>
#include <string>
#include <vector>

#include "unbraid/core/random.h"
#include "unbraid/data/manifest.h"

namespace unbraid::avdigits {

/// Ink on square paper, from 0 (none) to 1, row by row.
struct Glyph {
  static constexpr int kSide = 64;
  std::vector<float> ink = std::vector<float>(size_t{kSide} * kSide);

  /// Interpolated between pixel centres; 0 outside.
  [[nodiscard]] float at(double x, double y) const;
};

/// A font of the embedded data set.
struct FontFile {
  std::string path;     // below /usr/share/fonts, or absolute
  std::string package;  // the Debian package that brings it
};

/// The fonts of a split; no family, and no clone of one, belongs to two splits.
const std::vector<FontFile>& fonts(Split split);

/// The ten digits of one font, each about kSide * 3 / 4 high and centred. Throws DataError naming
/// the package when the file is missing or bad.
std::array<Glyph, 10> load_font(const FontFile& font);

/// The handwriting of one person, a function of its random stream.
class Hand {
 public:
  explicit Hand(RandomStream random);
  /// `digit` as this hand writes it this time.
  [[nodiscard]] Glyph write(int digit, RandomStream& random) const;

 private:
  uint64_t letterforms_;
  double slant_;
  double pen_;
  double width_;
  double unsteadiness_;
};

}  // namespace unbraid::avdigits
