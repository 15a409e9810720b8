#include "unbraid/training/recipe_keys.h"

#include <gtest/gtest.h>

namespace unbraid {
namespace {

TEST(RecipeKeys, HaveTheirTablesInFront) {
  EXPECT_EQ(
      keys_of("seed = 0\n\n[data]\nmanifest = \"a = b\"\n[modalities.audio]\nsize = [1, 2]\n"),
      (RecipeKeys{
          {"seed", "0"}, {"data.manifest", "\"a = b\""}, {"modalities.audio.size", "[1, 2]"}}));
}

TEST(RecipeKeys, SomeDecideNothing) {
  for (const char* key : {"data.cache", "data.cache_gb", "data.workers"}) {
    EXPECT_TRUE(only_reads_data(key)) << key;
    EXPECT_FALSE(says_how_it_learned(key)) << key;
  }
  for (const char* key : {"seed", "data.manifest", "data.cache_folder", "log.tensorboard",
                          "probe.gradients", "method.teachers.audio"}) {
    EXPECT_FALSE(only_reads_data(key)) << key;
    EXPECT_FALSE(says_how_it_learned(key)) << key;
  }
  for (const char* key : {"data.batch_size", "method.alpha", "optimizer.lr"}) {
    EXPECT_FALSE(only_reads_data(key)) << key;
    EXPECT_TRUE(says_how_it_learned(key)) << key;
  }
}

}  // namespace
}  // namespace unbraid
