#include "unbraid/training/recipe.h"

#include <filesystem>
#include <fstream>
#include <iterator>

#include <gtest/gtest.h>

namespace unbraid {
namespace {

namespace fs = std::filesystem;

TEST(Recipes, ThoseOfTheTreeAreReadAndResolveToThemselves) {
  size_t count = 0;
  for (const auto& entry :
       fs::recursive_directory_iterator(fs::path(UNBRAID_SOURCE_DIR) / "recipes")) {
    if (entry.path().extension() != ".toml") {
      continue;
    }
    ++count;
    const Recipe recipe = read_recipe(entry.path().string());
    EXPECT_EQ(parse_recipe(recipe.resolved, entry.path().string()).resolved, recipe.resolved)
        << entry.path();
  }
  EXPECT_GE(count, 3);
}

}  // namespace
}  // namespace unbraid
