// Published layouts with real files, from raw media to a tested model.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <ostream>
#include <string>
#include <vector>

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
  /// On one thread: the same on every machine.
  void unbraid(const std::string& arguments) {
    run(std::string("OMP_NUM_THREADS=1 ") + UNBRAID_PROGRAM + " " + arguments);
  }

  /// Of all modalities together, as `eval` printed it.
  [[nodiscard]] double fused_accuracy() const {
    const size_t fused = output_.find("fused");
    double loss = 0;
    double accuracy = 0;
    EXPECT_NE(fused, std::string::npos) << output_;
    EXPECT_EQ(std::sscanf(output_.c_str() + fused, "fused %lf %lf", &loss, &accuracy), 2)
        << output_;
    return accuracy;
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
  EXPECT_GT(fused_accuracy(), 0.6) << output_;

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

struct DataSet {
  std::string name;
  std::string recipe;  // of this repository
  bool names_classes;  // the recipe does; others take those that prepare prints
  std::vector<std::string> modalities;
  std::vector<std::string> shapes;  // that inspect prints
};

const DataSet kKineticsSounds = {"kinetics-sounds",
                                 "kinetics-sounds",
                                 false,
                                 {"audio", "visual"},
                                 {"[1, 129, 626]", "[3, 3, 32, 32]"}};
const DataSet kVggSound = {
    "vggsound", "vggsound", false, {"audio", "visual"}, {"[1, 129, 626]", "[3, 3, 32, 32]"}};
const DataSet kAve = {"ave", "ave", true, {"audio", "visual"}, {"[1, 257, 259]", "[1, 3, 32, 32]"}};
const DataSet kUcf101 = {
    "ucf101", "ucf101", true, {"rgb", "flow"}, {"[3, 3, 32, 32]", "[3, 2, 32, 32]"}};
const DataSet kFood101 = {"food101", "food101", false, {"image", "text"}, {"[3, 32, 32]", "[40]"}};
// Without a recipe of its own; the modalities of this one are its.
const DataSet kFolders = {
    "folders", "kinetics-sounds", false, {"audio", "visual"}, {"[1, 129, 626]", "[3, 3, 32, 32]"}};

/// A layout of tests/data/miniature.sh and what becomes of it.
struct Miniature {
  std::string layout;
  const DataSet* data_set;
  std::string options;                // of prepare, {0} standing for the folder
  std::vector<std::string> prepared;  // lines of its report, blanks squeezed
};

// What GoogleTest prints of a failed one.
std::ostream& operator<<(std::ostream& stream, const Miniature& miniature) {
  return stream << miniature.layout;
}

std::string layout_name(const ::testing::TestParamInfo<Miniature>& test) {
  std::string name = test.param.layout;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

std::string squeezed(const std::string& text) {
  std::string once;
  std::unique_copy(text.begin(), text.end(), std::back_inserter(once),
                   [](char left, char right) { return left == ' ' && right == ' '; });
  return once;
}

class PublishedLayoutSlow : public DataSetsSlow, public ::testing::WithParamInterface<Miniature> {};

TEST_P(PublishedLayoutSlow, IsPreparedInspectedTrainedOnAndTested) {
  const Miniature& miniature = GetParam();
  const std::string raw = (folder_ / "raw").string();
  const std::string manifest = (folder_ / "manifest.csv").string();
  run(fmt::format("{}/tests/data/miniature.sh {} {}", UNBRAID_SOURCE_DIR, miniature.layout, raw));
  const DataSet& data_set = *miniature.data_set;
  unbraid(fmt::format("prepare {} {} -o {} {}", data_set.name, raw, manifest,
                      fmt::format(fmt::runtime(miniature.options), raw)));
  const std::string report = squeezed(output_);
  for (const std::string& line : miniature.prepared) {
    EXPECT_NE(report.find("\n" + line + "\n"), std::string::npos) << line << " is not in\n"
                                                                  << report;
  }

  // The recipe on encoders and pictures that are quick.
  std::string more = fmt::format(
      " --set data.manifest={} --set data.batch_size=9 --set train.epochs=8 --set "
      "optimizer.lr=0.01",
      manifest);
  if (!data_set.names_classes) {
    const std::string key = "classes = ";
    const size_t classes = output_.find(key);
    ASSERT_NE(classes, std::string::npos) << output_;
    const size_t list = classes + key.size();
    more += fmt::format(" --set 'task.classes={}'",
                        output_.substr(list, output_.find('\n', list) - list));
  }
  for (const std::string& modality : data_set.modalities) {
    if (modality == "text") {
      continue;
    }
    more += fmt::format(" --set modalities.{}.encoder.type=cnn", modality);
    if (modality != "audio") {
      more += fmt::format(" --set modalities.{}.size=32", modality);
    }
  }
  const std::string recipe =
      fmt::format("{}/recipes/{}/dgl.toml", UNBRAID_SOURCE_DIR, data_set.recipe);
  const std::string sheet = (folder_ / "sheet.png").string();
  unbraid(fmt::format("inspect {}{} --sheet {}", recipe, more, sheet));
  for (const std::string& shape : data_set.shapes) {
    EXPECT_NE(output_.find(shape), std::string::npos) << shape << " is not in\n" << output_;
  }
  EXPECT_TRUE(read_text(sheet).starts_with("\x89PNG"));

  const std::string out = (folder_ / "run").string();
  unbraid(fmt::format("train {}{} --out {}", recipe, more, out));
  unbraid(fmt::format("eval {}", out));
  for (const std::string& modality : data_set.modalities) {
    EXPECT_NE(output_.find(modality + " alone"), std::string::npos) << output_;
  }
  // A third is chance; every class has its own tone and picture.
  EXPECT_GT(fused_accuracy(), 0.6) << output_;
}

const std::vector<std::string> kVggSoundLines = {
    "cat, purring 9 1 3", "zebra braying 9 1 3", "all 27 3 9",
    "left out, listed, but not there: 1 (gone_000000)"};
const std::vector<std::string> kAveLines = {"Church bell 10 2 3",
                                            "Female speech, woman speaking 10 2 3", "all 30 6 9",
                                            "left out, of train, listed in test too: 1 (-0-_12)"};

INSTANTIATE_TEST_SUITE_P(
    All, PublishedLayoutSlow,
    ::testing::Values(Miniature{"kinetics-sounds",
                                &kKineticsSounds,
                                "--classes 3",
                                {"blowing_nose 9 1 3", "tap_dancing 9 1 3", "all 27 3 9",
                                 "left out, visual too short: 1 (blowing_nose/two)",
                                 "left out, without audio: 1 (blowing_nose/silent)"}},
                      Miniature{"vggsound", &kVggSound, "--classes 3", kVggSoundLines},
                      Miniature{"vggsound-mp4", &kVggSound, "--classes 3", kVggSoundLines},
                      Miniature{"ave", &kAve, "--classes 3", kAveLines},
                      Miniature{"ave-mp4", &kAve, "--classes 3", kAveLines},
                      Miniature{"ucf101",
                                &kUcf101,
                                "--classes 3",
                                {"Archery 11 1 1", "HandStandPushups 11 1 1", "all 33 3 3"}},
                      Miniature{"ucf101-avi",
                                &kUcf101,
                                "--classes 3 --split-list train={0}/trainlist01.txt "
                                "--split-list test={0}/testlist01.txt",
                                {"Archery 9 1 3", "HandStandPushups 9 1 3", "all 27 3 9"}},
                      Miniature{"food101",
                                &kFood101,
                                "--classes 3",
                                {"apple_pie 9 1 3", "pho 9 1 3", "all 27 3 9",
                                 "left out, in no list: 1 (pho/pho_99)",
                                 "left out, without an image: 1 (pho_50)"}},
                      Miniature{"folders", &kFolders, "", {"class 0 10 2 3", "all 30 6 9"}}),
    layout_name);

TEST_F(DataSetsSlow, MoseiFromItsPickleToATestedModel) {
  run(fmt::format("/usr/bin/python3 {}/tests/data/miniature_mosei.py {}", UNBRAID_SOURCE_DIR,
                  (folder_ / "mosei_senti_data_noalign.pkl").string()));
  struct Case {
    const char* recipe;
    const char* manifest;
    const char* options;
    const char* metric;
  };
  for (const Case& test : {Case{"dgl", "mosei.csv", "", "accuracy"},
                           Case{"ordinal", "mosei_scores.csv", "--scores", "acc2_non0"}}) {
    SCOPED_TRACE(test.recipe);
    unbraid(fmt::format("prepare mosei {} {} -o {}", folder_.path().string(), test.options,
                        (folder_ / test.manifest).string()));
    EXPECT_NE(output_.find("[64, 6, 5] float32, 6 values that were not finite are 0"),
              std::string::npos)
        << output_;
    EXPECT_EQ(output_.find("classes = ") == std::string::npos, test.options[0] != '\0') << output_;
    // The recipe, on the miniature's few features.
    write_text(folder_ / "recipe.toml",
               read_text(fs::path(UNBRAID_SOURCE_DIR) /
                         fmt::format("recipes/mosei/{}.toml", test.recipe)));
    const std::string path = (folder_ / "recipe.toml").string();
    const std::string more =
        " --set modalities.audio.encoder.in_features=5 --set "
        "modalities.vision.encoder.in_features=4 "
        "--set modalities.text.encoder.in_features=7 --set train.epochs=1";
    unbraid(fmt::format("inspect {}{} --sheet {}", path, more, (folder_ / "sheet.png").string()));
    EXPECT_NE(output_.find("[3, 7]"), std::string::npos) << output_;
    const std::string run_folder = (folder_ / test.recipe).string();
    unbraid(fmt::format("train {}{} --out {}", path, more, run_folder));
    unbraid(fmt::format("eval {}", run_folder));
    EXPECT_NE(output_.find("vision alone"), std::string::npos) << output_;
    EXPECT_NE(output_.find(test.metric), std::string::npos) << output_;
  }
}

}  // namespace
}  // namespace unbraid
