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
  EXPECT_GE(count, 11);
}

}  // namespace
}  // namespace unbraid
