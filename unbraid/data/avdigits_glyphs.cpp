#include "unbraid/data/avdigits_glyphs.h"

#include <ft2build.h>
#include FT_FREETYPE_H

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "unbraid/core/error.h"

namespace unbraid::avdigits {
namespace {

constexpr double kHeight = Glyph::kSide * 3.0 / 4.0;

size_t index_of(int x, int y) {
  return static_cast<size_t>(y) * Glyph::kSide + static_cast<size_t>(x);
}

struct Point {
  double x = 0;
  double y = 0;
};
using Stroke = std::vector<Point>;
using Skeleton = std::vector<Stroke>;

std::string file_of(const FontFile& font) {
  return std::filesystem::path("/usr/share/fonts") / font.path;  // an absolute path replaces it
}

[[noreturn]] void fail(const FontFile& font, const std::string& reason) {
  throw DataError(file_of(font) + ": " + reason + "; install the Debian package " + font.package);
}

class Face {
 public:
  explicit Face(const FontFile& font) {
    if (FT_Init_FreeType(&library_) != 0) {
      fail(font, "cannot start FreeType");
    }
    if (FT_New_Face(library_, file_of(font).c_str(), 0, &face_) != 0) {
      FT_Done_FreeType(library_);
      fail(font, "cannot open this font");
    }
  }
  ~Face() {
    FT_Done_Face(face_);
    FT_Done_FreeType(library_);
  }
  Face(const Face&) = delete;
  Face& operator=(const Face&) = delete;

  [[nodiscard]] FT_Face get() const { return face_; }

 private:
  FT_Library library_ = nullptr;
  FT_Face face_ = nullptr;
};

// Copies a bitmap into the middle of the paper, whose size it may exceed.
Glyph centred(const FT_Bitmap& bitmap) {
  Glyph glyph;
  const int left = (Glyph::kSide - static_cast<int>(bitmap.width)) / 2;
  const int top = (Glyph::kSide - static_cast<int>(bitmap.rows)) / 2;
  for (int y = 0; y < static_cast<int>(bitmap.rows); ++y) {
    for (int x = 0; x < static_cast<int>(bitmap.width); ++x) {
      const int to_x = left + x;
      const int to_y = top + y;
      if (to_x >= 0 && to_x < Glyph::kSide && to_y >= 0 && to_y < Glyph::kSide) {
        glyph.ink[index_of(to_x, to_y)] =
            static_cast<float>(bitmap.buffer[y * bitmap.pitch + x]) / 255.0F;
      }
    }
  }
  return glyph;
}

Glyph render(const FontFile& font, FT_Face face, int digit) {
  const auto load = [&](FT_UInt pixels) {
    return FT_Set_Pixel_Sizes(face, 0, pixels) == 0 &&
           FT_Load_Char(face, static_cast<FT_ULong>(digit) + '0',
                        FT_LOAD_RENDER | FT_LOAD_NO_HINTING | FT_LOAD_NO_BITMAP) == 0;
  };
  const FT_Bitmap& bitmap = face->glyph->bitmap;
  constexpr FT_UInt kTrial = 64;
  if (!load(kTrial) || bitmap.rows == 0 || bitmap.width == 0 ||
      bitmap.pixel_mode != FT_PIXEL_MODE_GRAY) {
    fail(font, "cannot draw the digit " + std::to_string(digit));
  }
  const double largest = std::max(bitmap.rows, bitmap.width);
  if (!load(static_cast<FT_UInt>(std::lround(kTrial * kHeight / largest)))) {
    fail(font, "cannot draw the digit " + std::to_string(digit));
  }
  return centred(bitmap);
}

// The ways to write a digit, on paper from (0, 0), top left, to (1, 1). A stroke of two points is
// straight, a longer one a curve through its points.
const std::vector<Skeleton>& skeletons(int digit) {
  static const Stroke kOval = {{.5, .05}, {.22, .24}, {.2, .62}, {.42, .94},
                               {.7, .86}, {.8, .5},   {.7, .15}, {.5, .05}};
  static const Stroke kLowerBowl = {{.28, .45}, {.5, .37},  {.77, .55},
                                    {.72, .83}, {.46, .95}, {.2, .86}};
  static const Stroke kSmallOval = {{.74, .26}, {.56, .06}, {.3, .14}, {.25, .38},
                                    {.46, .53}, {.68, .42}, {.74, .26}};
  static const std::array<std::vector<Skeleton>, 10> kAll = {{
      {{kOval},
       {{{.62, .1},
         {.4, .06},
         {.24, .34},
         {.26, .74},
         {.5, .95},
         {.74, .74},
         {.76, .36},
         {.6, .1},
         {.44, .12}}}},
      {{{{.52, .05}, {.5, .95}}},
       {{{.3, .26}, {.53, .05}}, {{.53, .05}, {.52, .95}}},
       {{{.32, .22}, {.52, .05}}, {{.52, .05}, {.52, .95}}, {{.3, .95}, {.74, .95}}}},
      {{{{.22, .27}, {.34, .09}, {.6, .07}, {.76, .26}, {.66, .5}, {.2, .94}},
        {{.2, .94}, {.82, .93}}},
       {{{.24, .24},
         {.42, .06},
         {.7, .12},
         {.72, .4},
         {.46, .72},
         {.2, .9},
         {.24, .76},
         {.5, .84},
         {.82, .92}}}},
      {{{{.22, .14}, {.5, .05}, {.74, .22}, {.64, .42}, {.42, .48}},
        {{.42, .48}, {.7, .55}, {.78, .75}, {.55, .95}, {.2, .86}}},
       {{{.22, .07}, {.76, .07}},
        {{.76, .07}, {.46, .42}},
        {{.46, .42}, {.74, .52}, {.76, .78}, {.5, .95}, {.2, .86}}}},
      {{{{.62, .05}, {.15, .66}}, {{.15, .66}, {.86, .66}}, {{.62, .05}, {.62, .95}}},
       {{{.28, .06}, {.2, .54}}, {{.2, .54}, {.82, .52}}, {{.68, .2}, {.62, .95}}}},
      {{{{.76, .07}, {.32, .08}}, {{.32, .08}, {.28, .45}}, kLowerBowl},
       {{{.78, .05}, {.52, .09}, {.34, .08}}, {{.34, .08}, {.28, .45}}, kLowerBowl}},
      {{{{.68, .07},
         {.38, .28},
         {.22, .62},
         {.34, .9},
         {.62, .93},
         {.76, .72},
         {.6, .52},
         {.36, .57},
         {.24, .72}}},
       {{{.5, .05},
         {.28, .4},
         {.24, .74},
         {.46, .95},
         {.72, .8},
         {.64, .58},
         {.4, .58},
         {.25, .74}}}},
      {{{{.2, .08}, {.78, .08}}, {{.78, .08}, {.55, .48}, {.42, .95}}},
       {{{.2, .08}, {.78, .08}}, {{.78, .08}, {.42, .95}}, {{.36, .5}, {.7, .5}}},
       {{{.2, .2}, {.22, .08}}, {{.22, .08}, {.78, .08}}, {{.78, .08}, {.52, .5}, {.46, .95}}}},
      {{{{.7, .16},
         {.5, .05},
         {.3, .2},
         {.48, .45},
         {.76, .72},
         {.5, .95},
         {.24, .72},
         {.52, .45},
         {.72, .22},
         {.68, .12}}},
       {{{.5, .47}, {.3, .3}, {.38, .08}, {.62, .08}, {.7, .3}, {.5, .47}},
        {{.5, .47}, {.24, .66}, {.34, .92}, {.66, .92}, {.76, .66}, {.5, .47}}}},
      {{{kSmallOval, {{.74, .26}, {.72, .95}}}},
       {{kSmallOval, {{.74, .26}, {.72, .66}, {.56, .92}, {.3, .93}}}}},
  }};
  return kAll.at(static_cast<size_t>(digit));
}

// The polyline of a Catmull-Rom curve through the points of `stroke`.
Stroke smooth(const Stroke& stroke) {
  if (stroke.size() < 3) {
    return stroke;
  }
  constexpr int kSteps = 6;
  Stroke line;
  for (size_t i = 0; i + 1 < stroke.size(); ++i) {
    const Point& before = stroke[i == 0 ? 0 : i - 1];
    const Point& from = stroke[i];
    const Point& to = stroke[i + 1];
    const Point& after = stroke[std::min(i + 2, stroke.size() - 1)];
    for (int step = 0; step < kSteps; ++step) {
      const double t = static_cast<double>(step) / kSteps;
      const auto blend = [t](double a, double b, double c, double d) {
        return 0.5 *
               (2 * b + t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a))));
      };
      line.push_back(
          {blend(before.x, from.x, to.x, after.x), blend(before.y, from.y, to.y, after.y)});
    }
  }
  line.push_back(stroke.back());
  return line;
}

double squared_distance(const Point& p, const Point& a, const Point& b) {
  const double dx = b.x - a.x;
  const double dy = b.y - a.y;
  const double length = dx * dx + dy * dy;
  const double along =
      length > 0 ? std::clamp(((p.x - a.x) * dx + (p.y - a.y) * dy) / length, 0.0, 1.0) : 0.0;
  const double off_x = p.x - a.x - along * dx;
  const double off_y = p.y - a.y - along * dy;
  return off_x * off_x + off_y * off_y;
}

// Lines in pixels, drawn with a round pen whose edge is one pixel soft.
Glyph draw(const std::vector<Stroke>& lines, double pen) {
  Glyph glyph;
  const double reach = pen / 2 + 1;
  const auto inside = [](double value) {
    return std::clamp(static_cast<int>(value), 0, Glyph::kSide - 1);
  };
  for (const Stroke& line : lines) {
    for (size_t i = 0; i + 1 < line.size(); ++i) {
      const auto [left, right] = std::minmax(line[i].x, line[i + 1].x);
      const auto [top, bottom] = std::minmax(line[i].y, line[i + 1].y);
      for (int y = inside(top - reach); y <= inside(bottom + reach); ++y) {
        for (int x = inside(left - reach); x <= inside(right + reach); ++x) {
          const Point centre{x + 0.5, y + 0.5};
          const double distance = std::sqrt(squared_distance(centre, line[i], line[i + 1]));
          float& ink = glyph.ink[index_of(x, y)];
          ink = std::max(ink, static_cast<float>(std::clamp(pen / 2 + 0.5 - distance, 0.0, 1.0)));
        }
      }
    }
  }
  return glyph;
}

}  // namespace

const std::vector<FontFile>& fonts(Split split) {
  static const std::vector<FontFile> kTrain = {
      {"truetype/dejavu/DejaVuSans.ttf", "fonts-dejavu-core"},
      {"truetype/dejavu/DejaVuSans-Bold.ttf", "fonts-dejavu-core"},
      {"truetype/dejavu/DejaVuSerif.ttf", "fonts-dejavu-core"},
      {"truetype/dejavu/DejaVuSerif-Bold.ttf", "fonts-dejavu-core"},
      {"truetype/dejavu/DejaVuSansMono.ttf", "fonts-dejavu-core"},
      {"opentype/urw-base35/NimbusSans-Regular.otf", "fonts-urw-base35"},
      {"opentype/urw-base35/NimbusSans-BoldItalic.otf", "fonts-urw-base35"},
      {"opentype/urw-base35/NimbusSansNarrow-Bold.otf", "fonts-urw-base35"},
      {"opentype/urw-base35/NimbusRoman-Regular.otf", "fonts-urw-base35"},
      {"opentype/urw-base35/NimbusRoman-BoldItalic.otf", "fonts-urw-base35"},
      {"opentype/urw-base35/NimbusMonoPS-Regular.otf", "fonts-urw-base35"},
      {"opentype/urw-base35/NimbusMonoPS-Bold.otf", "fonts-urw-base35"},
      {"opentype/urw-base35/C059-Roman.otf", "fonts-urw-base35"},
      {"opentype/urw-base35/C059-BdIta.otf", "fonts-urw-base35"},
      {"opentype/comic-neue/ComicNeue-Regular.otf", "fonts-comic-neue"},
      {"opentype/comic-neue/ComicNeue-Bold.otf", "fonts-comic-neue"},
      {"opentype/bwht/BecauseWeBuild-Regular.otf", "fonts-bwht"},
      {"opentype/bwht/BecauseWeConnect-Regular.otf", "fonts-bwht"},
      {"opentype/bwht/BecauseWeCreate-Regular.otf", "fonts-bwht"},
      {"truetype/sjfonts/Delphine.ttf", "fonts-sjfonts"},
      {"truetype/fifthhorseman/dkg.ttf", "fonts-dkg-handwriting"},
      {"truetype/fifthhorseman/dkgBd.ttf", "fonts-dkg-handwriting"},
  };
  static const std::vector<FontFile> kVal = {
      {"opentype/urw-base35/P052-Roman.otf", "fonts-urw-base35"},
      {"opentype/urw-base35/P052-BoldItalic.otf", "fonts-urw-base35"},
      {"opentype/bwht/BecauseWeLearn-Regular.otf", "fonts-bwht"},
      {"truetype/quicksand/Quicksand-Regular.ttf", "fonts-quicksand"},
      {"truetype/quicksand/Quicksand-Bold.ttf", "fonts-quicksand"},
      {"truetype/rufscript/Rufscript010.ttf", "fonts-rufscript"},
  };
  static const std::vector<FontFile> kTest = {
      {"opentype/urw-base35/URWBookman-Light.otf", "fonts-urw-base35"},
      {"opentype/urw-base35/URWBookman-DemiItalic.otf", "fonts-urw-base35"},
      {"opentype/urw-base35/URWGothic-Book.otf", "fonts-urw-base35"},
      {"opentype/urw-base35/URWGothic-DemiOblique.otf", "fonts-urw-base35"},
      {"opentype/urw-base35/Z003-MediumItalic.otf", "fonts-urw-base35"},
      {"opentype/bwht/BecauseWeMentor-Regular.otf", "fonts-bwht"},
      {"opentype/bwht/BecauseWeOrganize-Regular.otf", "fonts-bwht"},
      {"truetype/sjfonts/SteveHand.ttf", "fonts-sjfonts"},
      {"truetype/breip/Breip.ttf", "fonts-breip"},
      {"opentype/lobster/lobster.otf", "fonts-lobster"},
  };
  switch (split) {
    case Split::kTrain:
      return kTrain;
    case Split::kVal:
      return kVal;
    default:
      return kTest;
  }
}

float Glyph::at(double x, double y) const {
  const double left = std::floor(x - 0.5);
  const double top = std::floor(y - 0.5);
  if (!(left >= -1 && top >= -1 && left < kSide && top < kSide)) {
    return 0.0F;
  }
  const auto pixel = [&](int column, int row) {
    const bool outside = column < 0 || row < 0 || column >= kSide || row >= kSide;
    return outside ? 0.0F : ink[index_of(column, row)];
  };
  const int column = static_cast<int>(left);
  const int row = static_cast<int>(top);
  const auto across = static_cast<float>(x - 0.5 - left);
  const auto down = static_cast<float>(y - 0.5 - top);
  const float upper = std::lerp(pixel(column, row), pixel(column + 1, row), across);
  const float lower = std::lerp(pixel(column, row + 1), pixel(column + 1, row + 1), across);
  return std::lerp(upper, lower, down);
}

std::array<Glyph, 10> load_font(const FontFile& font) {
  const Face face(font);
  std::array<Glyph, 10> digits;
  for (int digit = 0; digit < 10; ++digit) {
    digits[static_cast<size_t>(digit)] = render(font, face.get(), digit);
  }
  return digits;
}

Hand::Hand(RandomStream random)
    : letterforms_(random.bits()),
      slant_(random.uniform(-0.12, 0.35)),
      pen_(random.uniform(3.0, 9.0)),
      width_(random.uniform(0.65, 1.1)),
      unsteadiness_(random.uniform(0.008, 0.025)) {}

Glyph Hand::write(int digit, RandomStream& random) const {
  // The writer's own form of this digit first, then how it came out this time.
  RandomStream form = RandomStream::of(letterforms_, 0, std::to_string(digit), "form");
  const std::vector<Skeleton>& ways = skeletons(digit);
  std::vector<Stroke> lines;
  for (Stroke stroke : ways[form.below(ways.size())]) {
    for (Point& point : stroke) {
      const double x = point.x + 0.035 * form.normal() + unsteadiness_ * random.normal() - 0.5;
      const double y = point.y + 0.025 * form.normal() + unsteadiness_ * random.normal() - 0.5;
      point.x = Glyph::kSide / 2.0 + kHeight * (width_ * x - slant_ * y);
      point.y = Glyph::kSide / 2.0 + kHeight * 0.95 * y;
    }
    lines.push_back(smooth(stroke));
  }
  return draw(lines, pen_);
}

}  // namespace unbraid::avdigits
