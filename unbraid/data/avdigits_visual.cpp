#include "unbraid/data/avdigits_visual.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "unbraid/core/error.h"

namespace unbraid::avdigits {
namespace {

constexpr uint64_t kHandsOfTraining = 120;
constexpr uint64_t kHandsElsewhere = 40;

size_t index_of(int x, int y) {
  return static_cast<size_t>(y) * kImageSide + static_cast<size_t>(x);
}

// Ink from 0 to 1 on the picture's own grid.
struct Canvas {
  std::vector<double> ink = std::vector<double>(size_t{kImageSide} * kImageSide);

  // Calls `shade(x, y)` at four points of each pixel and lays their mean over what is there.
  template <typename Shade>
  void lay(double opacity, const Shade& shade) {
    for (int y = 0; y < kImageSide; ++y) {
      for (int x = 0; x < kImageSide; ++x) {
        const double mean = (shade(x + 0.25, y + 0.25) + shade(x + 0.75, y + 0.25) +
                             shade(x + 0.25, y + 0.75) + shade(x + 0.75, y + 0.75)) /
                            4;
        double& pixel = ink[index_of(x, y)];
        pixel += (1 - pixel) * std::clamp(opacity * mean, 0.0, 1.0);
      }
    }
  }
};

// Where a point of the picture lies on the glyph's paper.
class Placement {
 public:
  Placement(double centre_x, double centre_y, double scale, double angle, double shear)
      : centre_x_(centre_x), centre_y_(centre_y) {
    const double zoom = Glyph::kSide / (scale * kImageSide);
    xx_ = zoom * std::cos(angle);
    xy_ = zoom * (std::sin(angle) + shear);
    yx_ = -zoom * std::sin(angle);
    yy_ = zoom * std::cos(angle);
  }

  [[nodiscard]] float ink(const Glyph& glyph, double x, double y) const {
    const double dx = x - centre_x_;
    const double dy = y - centre_y_;
    return glyph.at(Glyph::kSide / 2.0 + xx_ * dx + xy_ * dy,
                    Glyph::kSide / 2.0 + yx_ * dx + yy_ * dy);
  }

 private:
  double centre_x_;
  double centre_y_;
  double xx_ = 1;
  double xy_ = 0;
  double yx_ = 0;
  double yy_ = 1;
};

// A smooth random displacement: a few plane waves of random direction and phase.
class Bend {
 public:
  Bend(double amplitude, RandomStream& random) {
    for (Wave& wave : waves_) {
      const double turns = random.uniform(0.6, 1.8) / kImageSide;  // per pixel
      const double direction = random.uniform(0.0, 2 * std::numbers::pi);
      wave.x = 2 * std::numbers::pi * turns * std::cos(direction);
      wave.y = 2 * std::numbers::pi * turns * std::sin(direction);
      wave.phase = random.uniform(0.0, 2 * std::numbers::pi);
      wave.shift_x = amplitude * random.normal();
      wave.shift_y = amplitude * random.normal();
    }
  }

  void apply(double& x, double& y) const {
    double to_x = x;
    double to_y = y;
    for (const Wave& wave : waves_) {
      const double height = std::sin(wave.x * x + wave.y * y + wave.phase);
      to_x += wave.shift_x * height;
      to_y += wave.shift_y * height;
    }
    x = to_x;
    y = to_y;
  }

 private:
  struct Wave {
    double x, y, phase, shift_x, shift_y;
  };
  std::array<Wave, 4> waves_{};
};

void draw_digit(Canvas& canvas, const Glyph& glyph, double difficulty, RandomStream& random) {
  constexpr double kMiddle = kImageSide / 2.0;
  const Placement placement{kMiddle + difficulty * random.uniform(-2.6, 2.6),
                            kMiddle + difficulty * random.uniform(-2.6, 2.6),
                            std::exp(difficulty * random.uniform(-0.25, 0.1)),
                            difficulty * random.uniform(-0.24, 0.24),
                            difficulty * random.uniform(-0.2, 0.2)};
  const Bend bend(0.5 * difficulty, random);
  canvas.lay(1.0, [&](double x, double y) {
    bend.apply(x, y);
    return placement.ink(glyph, x, y);
  });
}

// A part of another digit, cut along a random line, near an edge of the picture.
void draw_fragment(Canvas& canvas, const Scribe& scribe, double opacity, RandomStream& random) {
  const Glyph glyph = scribe.write(static_cast<int>(random.below(10)), random);
  const double direction = random.uniform(0.0, 2 * std::numbers::pi);
  const double distance = random.uniform(9.0, 19.0);
  const double centre_x = kImageSide / 2.0 + distance * std::cos(direction);
  const double centre_y = kImageSide / 2.0 + distance * std::sin(direction);
  const Placement placement{centre_x, centre_y, random.uniform(0.5, 1.0), random.uniform(-0.8, 0.8),
                            0.0};
  const double cut = random.uniform(0.0, 2 * std::numbers::pi);
  const double keep = random.uniform(-2.0, 8.0);
  canvas.lay(opacity, [&](double x, double y) {
    const double side = (x - centre_x) * std::cos(cut) + (y - centre_y) * std::sin(cut);
    return side < keep ? placement.ink(glyph, x, y) : 0.0F;
  });
}

void draw_line(Canvas& canvas, double opacity, RandomStream& random) {
  const double direction = random.uniform(0.0, std::numbers::pi);
  const double offset = random.uniform(-14.0, 14.0);
  const double half_width = random.uniform(0.4, 1.1);
  canvas.lay(opacity, [&](double x, double y) {
    const double distance = (x - kImageSide / 2.0) * std::cos(direction) +
                            (y - kImageSide / 2.0) * std::sin(direction) - offset;
    return std::abs(distance) < half_width ? 1.0 : 0.0;
  });
}

void draw_blob(Canvas& canvas, double opacity, RandomStream& random) {
  const double centre_x = random.uniform(0.0, kImageSide);
  const double centre_y = random.uniform(0.0, kImageSide);
  const double radius = random.uniform(1.5, 4.0);
  canvas.lay(opacity, [&](double x, double y) {
    const double squared = (x - centre_x) * (x - centre_x) + (y - centre_y) * (y - centre_y);
    return std::exp(-squared / (2 * radius * radius));
  });
}

// Ink on paper, photographed: uneven light, faded ink, a grainy sensor.
std::vector<uint8_t> photograph(const Canvas& canvas, double difficulty, RandomStream& random) {
  const double contrast = std::exp(-difficulty * random.uniform(0.0, 0.9));
  const double paper = 0.5 + 0.5 * contrast + (1 - contrast) * random.uniform(-0.35, 0.35);
  const double light_x = difficulty * random.uniform(-0.16, 0.16);
  const double light_y = difficulty * random.uniform(-0.16, 0.16);
  const double grain = difficulty * random.uniform(0.01, 0.11);
  std::vector<uint8_t> pixels(canvas.ink.size());
  for (int y = 0; y < kImageSide; ++y) {
    for (int x = 0; x < kImageSide; ++x) {
      const size_t at = index_of(x, y);
      const double light = light_x * (x + 0.5 - kImageSide / 2.0) / kImageSide +
                           light_y * (y + 0.5 - kImageSide / 2.0) / kImageSide;
      const double value = paper - contrast * canvas.ink[at] + light + grain * random.normal();
      pixels[at] = static_cast<uint8_t>(std::lround(255 * std::clamp(value, 0.0, 1.0)));
    }
  }
  return pixels;
}

}  // namespace

Scribe::Scribe(Split split, uint64_t seed) : split_(split), seed_(seed) {
  for (const FontFile& font : fonts(split)) {
    fonts_.push_back(load_font(font));
  }
}

Glyph Scribe::write(int digit, RandomStream& random) const {
  if (random.below(2) == 0) {
    return fonts_[random.below(fonts_.size())].at(static_cast<size_t>(digit));
  }
  const uint64_t hands = split_ == Split::kTrain ? kHandsOfTraining : kHandsElsewhere;
  const std::string writer =
      std::string(name_of(split_)) + "-" + std::to_string(random.below(hands));
  return Hand(RandomStream::of(seed_, 0, writer, "hand")).write(digit, random);
}

std::vector<uint8_t> paint(int digit, const Scribe& scribe, double difficulty,
                           RandomStream& random) {
  Canvas canvas;
  draw_digit(canvas, scribe.write(digit, random), difficulty, random);
  constexpr int kOfEach = 2;
  for (int i = 0; i < kOfEach; ++i) {
    // Each is there about two times in three, and the fainter the easier.
    const auto opacity = [&] {
      return std::clamp(difficulty * random.uniform(-0.35, 0.65), 0.0, 0.9);
    };
    draw_fragment(canvas, scribe, opacity(), random);
    draw_line(canvas, opacity(), random);
    draw_blob(canvas, opacity(), random);
  }
  return photograph(canvas, difficulty, random);
}

}  // namespace unbraid::avdigits
