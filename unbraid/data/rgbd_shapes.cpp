#include "unbraid/data/rgbd_shapes.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numbers>
#include <system_error>

#include <fmt/format.h>

#include "unbraid/core/error.h"
#include "unbraid/data/manifest.h"
#include "unbraid/media/npy.h"
#include "unbraid/media/png_encoder.h"

namespace unbraid {
namespace {

namespace fs = std::filesystem;
using rgbd_shapes::kClasses;
using rgbd_shapes::kSide;
using rgbd_shapes::Scene;
using Color = std::array<double, 3>;

constexpr int kGeneratorVersion = 1;  // raise it when the same options give other bytes
constexpr double kMostDifficulty = 3.0;
constexpr double kColorNoise = 12.0;   // of 255
constexpr double kDepthNoise = 0.006;  // metres, as is the rest
constexpr double kDistance = 1.0;      // from the camera to the middle of the table
constexpr double kBlockSide = 0.8;     // half of it, in radii of the other solids

enum Kind { kTable, kDisc, kDome, kCone, kPlainBlock, kStripedBlock, kChequeredBlock };
enum class Texture { kPlain, kStriped, kChequered };

Color draw_color(RandomStream& random) {
  return {random.uniform(20, 235), random.uniform(20, 235), random.uniform(20, 235)};
}

double distance(const Color& left, const Color& right) {
  return std::hypot(left[0] - right[0], left[1] - right[1], left[2] - right[2]);
}

struct Solid {
  int kind = kDisc;
  Texture texture = Texture::kPlain;
  double x = 0;
  double y = 0;
  double radius = 0;  // pixels
  double angle = 0;
  double height = 0;  // metres
  double period = 0;  // of the texture, pixels
  std::array<Color, 2> colors = {};

  static Solid draw(RandomStream& random) {
    Solid solid;
    solid.kind = static_cast<int>(random.below(kClasses.size() - 1)) + 1;
    const auto any = static_cast<Texture>(random.below(3));
    solid.texture = solid.kind < kPlainBlock ? any : static_cast<Texture>(solid.kind - kPlainBlock);
    solid.x = random.uniform(6, kSide - 6);
    solid.y = random.uniform(6, kSide - 6);
    solid.radius = random.uniform(8, 14);
    solid.angle = random.uniform(0, std::numbers::pi);
    solid.height = random.uniform(0.08, 0.2);
    solid.period = random.uniform(5, 7);
    solid.colors = {draw_color(random), draw_color(random)};
    while (distance(solid.colors[0], solid.colors[1]) < 100) {
      solid.colors[1] = draw_color(random);
    }
    return solid;
  }

  // Coordinates along its sides, in pixels.
  [[nodiscard]] std::array<double, 2> inside(int column, int row) const {
    const double right = column - x;
    const double down = row - y;
    return {std::cos(angle) * right + std::sin(angle) * down,
            std::cos(angle) * down - std::sin(angle) * right};
  }

  // Above the table; 0 beside it.
  [[nodiscard]] double height_at(int column, int row) const {
    const auto [u, v] = inside(column, row);
    const double away = std::hypot(u, v) / radius;
    if (kind >= kPlainBlock) {
      return std::max(std::abs(u), std::abs(v)) < kBlockSide * radius ? height : 0;
    }
    if (away >= 1) {
      return 0;
    }
    if (kind == kDome) {
      return height * std::sqrt(1 - away * away);
    }
    return kind == kCone ? height * (1 - away) : height;
  }

  // Lit evenly, so that it does not tell the shape.
  [[nodiscard]] const Color& color_at(int column, int row) const {
    const auto [u, v] = inside(column, row);
    const auto stripe = [this](double place) {
      return static_cast<int64_t>(std::floor(2 * place / period)) & 1;
    };
    const int64_t second = texture == Texture::kPlain     ? 0
                           : texture == Texture::kStriped ? stripe(u)
                                                          : stripe(u) ^ stripe(v);
    return colors[static_cast<size_t>(second)];
  }
};

std::string bytes_of(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

void generate(const GeneratedSet& set, const RgbdShapesOptions& options, const fs::path& folder,
              const GenerationProgress& progress) {
  for (const char* kind : {"color", "depth", "label"}) {
    std::error_code failure;
    if (fs::create_directory(folder / kind, failure); failure) {
      throw StorageError((folder / kind).string() + ": " + failure.message());
    }
  }
  const auto make = [&](size_t i) {
    const std::string id = set.sample(i).id;
    RandomStream random = RandomStream::of(options.seed, 0, id, "scene");
    const Scene scene = rgbd_shapes::render(options.difficulty, random);
    GeneratedSet::write(folder / "color" / (id + ".png"), encode_png(kSide, kSide, 3, scene.color));
    GeneratedSet::write(folder / "depth" / (id + ".npy"),
                        npy_header({1, kSide, kSide}) + bytes_of(scene.depth));
    GeneratedSet::write(folder / "label" / (id + ".png"), encode_png(kSide, kSide, 1, scene.label));
  };
  set.in_parallel(set.size(), make,
                  [&](size_t done) { progress ? progress(done, set.size()) : void(); });
  std::string manifest = "id,split,label,color,depth\n";
  for (size_t i = 0; i < set.size(); ++i) {
    const GeneratedSet::Sample sample = set.sample(i);
    manifest += fmt::format("{0},{1},label/{0}.png,color/{0}.png,depth/{0}.npy\n", sample.id,
                            name_of(sample.split));
  }
  GeneratedSet::write(folder / "manifest.csv", manifest);
}

}  // namespace

Scene rgbd_shapes::render(double difficulty, RandomStream& random) {
  const Color table = draw_color(random);
  const std::array tilt = {random.uniform(-0.1, 0.1), random.uniform(-0.1, 0.1)};
  std::vector<Solid> solids(3 + random.below(3));
  std::generate(solids.begin(), solids.end(), [&] { return Solid::draw(random); });
  Scene scene;
  for (int row = 0; row < kSide; ++row) {
    for (int column = 0; column < kSide; ++column) {
      const Solid* top = nullptr;
      double height = 0;
      for (const Solid& solid : solids) {
        if (const double here = solid.height_at(column, row); here > height) {
          top = &solid;
          height = here;
        }
      }
      const double slope = (tilt[0] * (column - kSide / 2) + tilt[1] * (row - kSide / 2)) / kSide;
      scene.depth.push_back(static_cast<float>(kDistance + slope - height +
                                               difficulty * kDepthNoise * random.normal()));
      for (const double value : top == nullptr ? table : top->color_at(column, row)) {
        const double seen = value + difficulty * kColorNoise * random.normal();
        scene.color.push_back(static_cast<uint8_t>(std::lround(std::clamp(seen, 0.0, 255.0))));
      }
      scene.label.push_back(static_cast<uint8_t>(top == nullptr ? kTable : top->kind));
    }
  }
  return scene;
}

std::string prepare_rgbd_shapes(const RgbdShapesOptions& options,
                                const GenerationProgress& progress) {
  const GeneratedSet set("rgbd-shapes", options);
  set.check_option("difficulty", options.difficulty, 0, kMostDifficulty);
  return set.once(fmt::format("{} {} {} {} {} {}", kGeneratorVersion, options.seed, options.train,
                              options.val, options.test, options.difficulty),
                  "manifest.csv",
                  [&](const fs::path& folder) { generate(set, options, folder, progress); });
}

}  // namespace unbraid
