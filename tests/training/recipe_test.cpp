#include "unbraid/training/recipe.h"

#include <filesystem>
#include <fstream>
#include <iterator>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "temporary_folder.h"
#include "unbraid/media/npy.h"

namespace unbraid {
namespace {

namespace fs = std::filesystem;

TEST(Recipes, ThoseOfTheTreeAreReadAndResolveToThemselves) {
  // Tables are opened with the recipe; `prepare` makes those of CMU-MOSEI.
  const testing::TemporaryFolder folder;
  const std::string table = (folder / "table.npy").string();
  testing::write_text(table, npy_header({1, 1, 1}) + std::string(sizeof(float), '\0'));
  size_t count = 0;
  for (const auto& entry :
       fs::recursive_directory_iterator(fs::path(UNBRAID_SOURCE_DIR) / "recipes")) {
    if (entry.path().extension() != ".toml") {
      continue;
    }
    ++count;
    std::vector<std::string> tables;
    if (entry.path().parent_path().filename() == "mosei") {
      for (const char* modality : {"audio", "vision", "text"}) {
        tables.push_back(fmt::format("modalities.{}.table={}", modality, table));
      }
    }
    const Recipe recipe = read_recipe(entry.path().string(), tables);
    EXPECT_EQ(parse_recipe(recipe.resolved, entry.path().string()).resolved, recipe.resolved)
        << entry.path();
  }
  EXPECT_GE(count, 12);
}

constexpr const char* kSegmentation = R"(
[data]
manifest = "m.csv"
[modalities.color]
kind = "image"
size = 32
augment = false
encoder = { type = "cnn", maps = true, channels = [8, 8] }
[fusion]
type = "decoder"
channels = [8, 8, 8]
[task]
type = "segmentation"
classes = 5
size = [32, 16]
[method]
type = "joint"
[optimizer]
type = "adam"
)";

std::string refusal_of(const std::vector<std::string>& overrides) {
  try {
    (void)parse_recipe(kSegmentation, "r.toml", overrides).build_model();
  } catch (const RecipeError& error) {
    return error.what();
  }
  return "";
}

TEST(Segmentation, OutputsHaveTheSizeOfItsLabels) {
  const Recipe recipe = parse_recipe(kSegmentation, "r.toml");
  const torch::Tensor output = recipe.build_model()->forward({torch::zeros({2, 3, 32, 32})});
  EXPECT_EQ(output.sizes(), (std::vector<int64_t>{2, 5, 32, 16}));
}

TEST(Segmentation, RefusesWhatDoesNotFitIt) {
  EXPECT_EQ(refusal_of({}), "");
  EXPECT_EQ(refusal_of({"modalities.color.augment=true"}),
            "--set modalities.color.augment=true: modalities.color.augment: expected false with "
            "the task segmentation, whose labels would not be cropped and mirrored alike, got true "
            "(the default)");
  EXPECT_EQ(refusal_of({"fusion={ type = \"concat\" }"}),
            "--set fusion={ type = \"concat\" }:1: fusion.type: [concat] this fusion gives one "
            "output for each sample, but the task wants one for each "
            "pixel, as the fusion \"decoder\" gives");
  EXPECT_EQ(refusal_of({"task={ type = \"classification\", classes = 3 }"}),
            "r.toml:10: fusion.type: [decoder] this fusion gives an output for each pixel, but the "
            "task wants one for each "
            "sample");
  EXPECT_EQ(refusal_of({"modalities.color.encoder.maps=false"}),
            "r.toml:10: fusion.type: [decoder] this fusion takes maps, but the encoder of color "
            "gives vectors");
}

}  // namespace
}  // namespace unbraid
