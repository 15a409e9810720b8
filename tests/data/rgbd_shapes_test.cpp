#include "unbraid/data/rgbd_shapes.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>

#include <gtest/gtest.h>

#include "temporary_folder.h"
#include "unbraid/core/error.h"
#include "unbraid/data/manifest.h"
#include "unbraid/media/npy.h"

namespace unbraid {
namespace {

namespace fs = std::filesystem;
using rgbd_shapes::kClasses;
using rgbd_shapes::kSide;
using rgbd_shapes::Scene;
using testing::read_text;
using testing::TemporaryFolder;

constexpr size_t kPixels = static_cast<size_t>(kSide) * kSide;

Scene scene_of(uint64_t seed, double difficulty = 0) {
  RandomStream random(seed);
  return rgbd_shapes::render(difficulty, random);
}

RgbdShapesOptions of_ten_scenes(const std::string& cache) {
  RgbdShapesOptions options;
  options.train = options.val = options.test = 10;
  options.cache = cache;
  return options;
}

TEST(RgbdShapes, ScenesHaveEveryClassInPicturesOfOneSize) {
  std::map<int, size_t> pixels;
  for (uint64_t seed = 0; seed < 30; ++seed) {
    const Scene scene = scene_of(seed);
    EXPECT_EQ(scene.color.size(), 3 * kPixels);
    EXPECT_EQ(scene.depth.size(), kPixels);
    ASSERT_EQ(scene.label.size(), kPixels);
    for (const uint8_t label : scene.label) {
      ++pixels[label];
    }
  }
  ASSERT_EQ(pixels.size(), kClasses.size());
  EXPECT_EQ(pixels.rbegin()->first, static_cast<int>(kClasses.size()) - 1);
  for (const auto& [label, count] : pixels) {
    EXPECT_GT(count, 30 * kPixels / 100) << kClasses.at(static_cast<size_t>(label));
  }
}

// The steepest slope of depth inside of a class, metres a pixel, and the number of colours.
TEST(RgbdShapes, RoundSolidsDifferInDepthAndBlocksInTexture) {
  std::map<int, double> steepest;
  std::map<int, size_t> most_colors;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    const Scene scene = scene_of(seed);
    std::map<int, std::set<std::array<int, 3>>> colors;
    for (size_t i = 1; i + kSide < kPixels; ++i) {
      const int label = scene.label[i];
      colors[label].insert({scene.color[3 * i], scene.color[3 * i + 1], scene.color[3 * i + 2]});
      // Two blocks of one class may meet, so steps of their height are left out.
      const double step = std::abs(scene.depth[i] - scene.depth[i - 1]);
      if (i % kSide != 0 && scene.label[i - 1] == label && step < 0.04) {
        steepest[label] = std::max(steepest[label], step);
      }
    }
    for (const auto& [label, found] : colors) {
      most_colors[label] = std::max(most_colors[label], found.size());
    }
  }
  const double table = steepest[0];
  EXPECT_LT(table, 0.1 / kSide + 1e-6);
  EXPECT_GT(steepest[2], 4 * table);  // dome
  EXPECT_GT(steepest[3], 4 * table);  // cone
  EXPECT_EQ(most_colors[0], 1);
  EXPECT_GE(most_colors[5], 2);
  EXPECT_GE(most_colors[6], 2);
}

TEST(RgbdShapes, NoiseGrowsWithDifficulty) {
  const Scene clean = scene_of(3, 0);
  const Scene noisy = scene_of(3, 2);
  double squares = 0;
  for (size_t i = 0; i < kPixels; ++i) {
    squares += std::pow(noisy.depth[i] - clean.depth[i], 2);
  }
  EXPECT_EQ(noisy.label, clean.label);
  EXPECT_NEAR(std::sqrt(squares / kPixels), 2 * 0.006, 0.001);
  EXPECT_NE(noisy.color, clean.color);
}

TEST(RgbdShapes, SameOptionsGiveTheSameBytesOnAnyNumberOfThreads) {
  const TemporaryFolder folder;
  RgbdShapesOptions options = of_ten_scenes("");
  std::vector<fs::path> sets;
  for (const int threads : {1, 3}) {
    options.threads = threads;
    options.cache = (folder / std::to_string(threads)).string();
    size_t told = 0;
    sets.push_back(fs::path(prepare_rgbd_shapes(options, [&](size_t done, size_t) {
                     told = done;
                   })).parent_path());
    EXPECT_EQ(told, 30);
  }
  EXPECT_EQ(sets[0].filename(), sets[1].filename());
  size_t files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(sets[0])) {
    if (entry.is_regular_file()) {
      const fs::path path = fs::relative(entry.path(), sets[0]);
      EXPECT_EQ(read_text(entry.path()), read_text(sets[1] / path)) << path;
      ++files;
    }
  }
  EXPECT_EQ(files, 3 * 30 + 1);
  const Manifest manifest = Manifest::read((sets[0] / "manifest.csv").string(), {"depth"});
  EXPECT_EQ(manifest.rows.size(), 30);
  EXPECT_EQ(manifest.rows[10].id, "val-000000");
  EXPECT_EQ(manifest.rows[10].label, "label/val-000000.png");
  const std::string depth = (sets[0] / manifest.rows[10].cells[0]).string();
  EXPECT_EQ(NpyArray(read_text(depth), depth).shape(), (std::vector<int64_t>{1, kSide, kSide}));
  options.seed = 1;
  EXPECT_NE(fs::path(prepare_rgbd_shapes(options)).parent_path().filename(), sets[0].filename());
}

TEST(RgbdShapes, RefusesOptionsOutOfRangeAndLeavesNothingWhenStopped) {
  RgbdShapesOptions wrong;
  wrong.train = 9;
  EXPECT_THROW(prepare_rgbd_shapes(wrong), RecipeError);
  wrong.train = 10;
  wrong.difficulty = NAN;
  EXPECT_THROW(prepare_rgbd_shapes(wrong), RecipeError);
  const TemporaryFolder folder;
  const RgbdShapesOptions options = of_ten_scenes(folder.path().string());
  EXPECT_THROW(
      prepare_rgbd_shapes(options, [](size_t, size_t) { throw std::runtime_error("stopped"); }),
      std::runtime_error);
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

}  // namespace
}  // namespace unbraid
