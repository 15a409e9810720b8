// Published layouts with real files, from raw media to a tested model.
#include <cstdlib>
#include <filesystem>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "temporary_folder.h"
#include "unbraid/media/container.h"

namespace unbraid {
namespace {

namespace fs = std::filesystem;
using unbraid::testing::read_text;
using unbraid::testing::TemporaryFolder;
using unbraid::testing::write_text;

class DataSetsSlow : public ::testing::Test {
 protected:
  void run(const std::string& command) {
    const std::string log = (folder_ / "log").string();
    ASSERT_EQ(std::system((command + " >" + log + " 2>&1 </dev/null").c_str()), 0)
        << command << "\n"
        << read_text(log);
    output_ = read_text(log);
  }
  void unbraid(const std::string& arguments) {
    run(std::string(UNBRAID_PROGRAM) + " " + arguments);
  }

  TemporaryFolder folder_;
  std::string output_;
};

TEST_F(DataSetsSlow, CremadFromRawVideoToATestedModel) {
  if (!container_support()) {
    GTEST_SKIP() << "built without FFmpeg";
  }
  const std::string raw = (folder_ / "CREMA-D").string();
  const std::string manifest = (folder_ / "cremad.csv").string();
  run(fmt::format("{}/tests/data/miniature_cremad.sh {} 10", UNBRAID_SOURCE_DIR, raw));
  unbraid(fmt::format("prepare cremad {} -o {}", raw, manifest));
  EXPECT_NE(output_.find("60 samples"), std::string::npos) << output_;
  // The published recipe, on encoders that are quick.
  std::string recipe = read_text(fs::path(UNBRAID_SOURCE_DIR) / "recipes/cremad/dgl.toml");
  for (const char* channels : {"1", "3"}) {
    const std::string resnet = fmt::format("{{ type = \"resnet18\", in_channels = {} }}", channels);
    ASSERT_NE(recipe.find(resnet), std::string::npos);
    recipe.replace(recipe.find(resnet), resnet.size(),
                   fmt::format("{{ type = \"cnn\", in_channels = {} }}", channels));
  }
  write_text(folder_ / "recipe.toml", recipe);
  const std::string more =
      " --set data.batch_size=16 --set train.epochs=12 --set optimizer.lr=0.05 "
      "--set modalities.face.size=64";
  const std::string path = (folder_ / "recipe.toml").string();
  unbraid(fmt::format("inspect {}{} --sheet {}", path, more, (folder_ / "sheet.png").string()));
  EXPECT_NE(output_.find("[1, 257, 188]"), std::string::npos) << output_;
  EXPECT_NE(output_.find("[1, 3, 64, 64]"), std::string::npos) << output_;
  const std::string run_folder = (folder_ / "run").string();
  unbraid(fmt::format("train {}{} --out {}", path, more, run_folder));
  unbraid(fmt::format("eval {}", run_folder));
  EXPECT_NE(output_.find("face alone"), std::string::npos) << output_;
  // Every emotion has its own tone and picture: easy to learn.
  const size_t fused = output_.find("fused");
  ASSERT_NE(fused, std::string::npos);
  double loss = 0;
  double accuracy = 0;
  ASSERT_EQ(std::sscanf(output_.c_str() + fused, "fused %lf %lf", &loss, &accuracy), 2);
  EXPECT_GT(accuracy, 0.6) << output_;

  // What is decoded once serves every run, and changes none.
  const std::string weights =
      read_text(fs::path(run_folder) / "checkpoints/last/model.safetensors");
  for (const std::string round : {"first", "second"}) {
    const std::string out = (folder_ / round).string();
    unbraid(fmt::format("train {}{} --set data.cache={} --out {}", path, more,
                        (folder_ / "cache").string(), out));
    EXPECT_EQ(read_text(fs::path(out) / "checkpoints/last/model.safetensors"), weights) << round;
  }
  EXPECT_NE(output_.find(" samples read from it, 0 added"), std::string::npos) << output_;
}

TEST_F(DataSetsSlow, MoseiFromItsPickleToATestedModel) {
  const std::string manifest = (folder_ / "mosei.csv").string();
  run(fmt::format("/usr/bin/python3 {}/tests/data/miniature_mosei.py {}", UNBRAID_SOURCE_DIR,
                  (folder_ / "mosei_senti_data_noalign.pkl").string()));
  unbraid(fmt::format("prepare mosei {} -o {}", folder_.path().string(), manifest));
  EXPECT_NE(output_.find("[64, 6, 5] float32, 6 values that were not finite are 0"),
            std::string::npos)
      << output_;
  // The recipe, on the miniature's few features.
  write_text(folder_ / "recipe.toml",
             read_text(fs::path(UNBRAID_SOURCE_DIR) / "recipes/mosei/dgl.toml"));
  const std::string path = (folder_ / "recipe.toml").string();
  const std::string more =
      " --set modalities.audio.encoder.layers='[30, 16]' "
      "--set modalities.vision.encoder.layers='[24, 16]' "
      "--set modalities.text.encoder.layers='[21, 16]' --set train.epochs=1";
  unbraid(fmt::format("inspect {}{} --sheet {}", path, more, (folder_ / "sheet.png").string()));
  EXPECT_NE(output_.find("[3, 7]"), std::string::npos) << output_;
  const std::string run_folder = (folder_ / "run").string();
  unbraid(fmt::format("train {}{} --out {}", path, more, run_folder));
  unbraid(fmt::format("eval {}", run_folder));
  EXPECT_NE(output_.find("vision alone"), std::string::npos) << output_;
}

}  // namespace
}  // namespace unbraid
