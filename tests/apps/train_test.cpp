// `unbraid train` where something is missing or does not fit.
#include <algorithm>
#include <cmath>

#include "apps/command_line.h"
#include "unbraid/core/safetensors.h"
#include "unbraid/training/recipe.h"
#include "unbraid/training/run_directory.h"

namespace unbraid {
namespace {

using testing::Outcome;
using testing::read_text;
using testing::unbraid_program;
using testing::write_npy;
using testing::write_text;

class TrainCommand : public testing::CommandLine {
 protected:
  [[nodiscard]] std::string run() const { return (folder_ / "run").string(); }
  /// From a folder of its own, where nothing may appear.
  [[nodiscard]] Outcome resume() const {
    const std::filesystem::path elsewhere = folder_ / "elsewhere";
    std::filesystem::create_directories(elsewhere);
    const std::filesystem::path back = std::filesystem::current_path();
    std::filesystem::current_path(elsewhere);
    const Outcome outcome = unbraid_program("train " + run() + "/recipe.toml --resume");
    std::filesystem::current_path(back);
    EXPECT_TRUE(std::filesystem::is_empty(elsewhere));
    return outcome;
  }
};

TEST_F(TrainCommand, ALostCheckpointIsNotTrainedAnew) {
  ASSERT_EQ(train("").code, 0);
  const std::string metrics = read_text(run() + "/metrics.jsonl");
  std::filesystem::remove_all(run() + "/checkpoints/last");
  const std::string missing = "run/checkpoints/last: expected a checkpoint of this run, which is";
  expect_error(resume(), 5, missing);
  expect_error(train("--resume"), 5, missing);
  expect_error(train(""), 2, "already holds a run");
  std::filesystem::remove_all(run() + "/checkpoints");
  expect_error(resume(), 5, missing);
  expect_error(unbraid_program("eval " + run()), 5, "run/checkpoints/best: expected a checkpoint");
  EXPECT_EQ(read_text(run() + "/metrics.jsonl"), metrics);
}

TEST_F(TrainCommand, LostMetricsAreNotTrainedAnew) {
  ASSERT_EQ(train("").code, 0);
  std::filesystem::remove(run() + "/metrics.jsonl");
  expect_error(resume(), 5, "run/metrics.jsonl: cannot open");
}

TEST_F(TrainCommand, WithoutAFinishedEpochARunStartsAgainInItsPlace) {
  ASSERT_EQ(train("").code, 0);
  for (const char* file : {"checkpoints/last", "checkpoints/best", "summary.json"}) {
    std::filesystem::remove_all(folder_ / "run" / file);
  }
  write_text(run() + "/metrics.jsonl", "");
  const Outcome outcome = resume();
  ASSERT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_NE(outcome.output.find(", in " + run()), std::string::npos) << outcome.output;
  EXPECT_TRUE(std::filesystem::exists(run() + "/summary.json"));
}

TEST_F(TrainCommand, KeepsAnEventFileWhereAsked) {
  const auto event_file = [&] {
    for (const auto& entry : std::filesystem::directory_iterator(run())) {
      if (entry.path().filename().string().starts_with("events.out.tfevents.")) {
        return entry.path().string();
      }
    }
    return std::string();
  };
  const auto records = [&] {
    const std::string found = (folder_ / "found").string();
    EXPECT_EQ(
        std::system(fmt::format("/usr/bin/python3 {}/tests/training/read_event_file.py {} >{}",
                                UNBRAID_SOURCE_DIR, event_file(), found)
                        .c_str()),
        0);
    const std::string text = read_text(found);
    return std::count(text.begin(), text.end(), '\n');
  };
  ASSERT_EQ(train("").code, 0);
  EXPECT_EQ(event_file(), "");
  std::filesystem::remove_all(run());
  ASSERT_EQ(train("--set log.tensorboard=true").code, 0);
  EXPECT_EQ(records(), 1 + 3 * 2 + 1);  // the version, train and val, test
  ASSERT_EQ(resume().code, 0);          // which tests again
  EXPECT_EQ(records(), 1 + 3 * 2 + 1);
  const std::string file = event_file();
  std::filesystem::remove(file);
  std::filesystem::create_symlink("/dev/full", file);
  expect_error(resume(), 5, file);
}

TEST_F(TrainCommand, ResumesFromWithinTheFolder) {
  ASSERT_EQ(train("").code, 0);
  const Outcome outcome = unbraid_program(fmt::format(
      "doctor >/dev/null; cd {} && {} train recipe.toml --resume", run(), UNBRAID_PROGRAM));
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_FALSE(std::filesystem::exists(folder_ / "run/runs"));
}

TEST_F(TrainCommand, ContinuesARunOfAVersionWithFewerKeys) {
  const Recipe recipe = read_recipe(this->recipe().string());
  std::string older = recipe.resolved;
  const std::string key = "accumulate = 1\n";
  ASSERT_NE(older.find(key), std::string::npos) << older;
  older.erase(older.find(key), key.size());
  RunDirectory directory = RunDirectory::create(run(), older);
  const MultimodalModel model = recipe.build_model();
  directory.save("last", *model, Optimizer(recipe.settings.optimizer, model->named_parameters()),
                 {});
  const Outcome outcome = train("--resume");
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_EQ(read_text(run() + "/recipe.toml"), older);
}

TEST_F(TrainCommand, ADifferenceOfRecipesNamesItsKey) {
  const std::string groups = "--set 'optimizer.groups={\"*.bias\"={weight_decay=0.5}}'";
  ASSERT_EQ(train("--set train.epochs=1 " + groups).code, 0);
  expect_error(train("--resume --set train.epochs=1"), 3,
               "(optimizer.groups.\"*.bias\".lr_scale = 1.0, which is not there)");
  expect_error(train("--resume --set train.epochs=1 --set "
                     "'optimizer.groups={\"*.bias\"={weight_decay=0.25}}'"),
               3, "(optimizer.groups.\"*.bias\".weight_decay = 0.5, not 0.25)");
  ASSERT_EQ(train("--set train.epochs=1", "plain").code, 0);
  expect_error(
      unbraid_program(fmt::format("train {} --out {} --resume --set train.epochs=1 {}",
                                  recipe().string(), (folder_ / "plain").string(), groups)),
      3, "(without optimizer.groups.\"*.bias\".lr_scale = 1.0)");
}

TEST_F(TrainCommand, WeightsThatAreNotFiniteAreRefused) {
  ASSERT_EQ(train("--set train.epochs=1").code, 0);
  NamedTensors all = read_safetensors(run() + "/checkpoints/last/model.safetensors").tensors;
  NamedTensors left;
  for (auto& [name, tensor] : all) {
    if (name.starts_with("encoders.left.")) {
      tensor.flatten()[0] = left.empty() ? std::nan("") : 1.0;
      left.emplace_back(name.substr(std::string("encoders.left.").size()), tensor);
    }
  }
  const std::string file = (folder_ / "bad.safetensors").string();
  const std::string name = left.front().first;
  write_safetensors(file, all);
  expect_error(
      train("--set train.init=" + file, "other"), 5,
      fmt::format("bad.safetensors: encoders.left.{}: expected finite numbers, 1 of", name));
  write_safetensors(file, left);
  expect_error(train("--set modalities.left.weights=" + file, "other"), 5,
               fmt::format("bad.safetensors: {}: expected finite numbers, 1 of", name));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "other"));
}

TEST_F(TrainCommand, AFirstSampleOfAnotherShapeIsNamedItself) {
  write_npy(folder_ / "four.npy", {4}, std::vector<float>(4, 0.5F));
  write_npy(folder_ / "eight.npy", {8}, std::vector<float>(8, 0.5F));
  write_text(folder_ / "manifest.csv",
             "id,split,label,left,right\na,train,0,eight.npy,1\nb,train,1,four.npy,1\n"
             "c,val,0,four.npy,1\n");
  read_left_from_files();
  expect_error(train("--set data.batch_size=2"), 4,
               "manifest.csv:2: left: expected samples of one shape, found [8] in 'a', but [4] in "
               "'b' (");
  write_text(folder_ / "manifest.csv",
             "id,split,label,left,right\na,train,0,four.npy,1\nb,train,1,four.npy,1\n"
             "c,val,0,eight.npy,1\n");
  const Outcome later = train("--set data.batch_size=2");
  EXPECT_EQ(later.code, 4);
  EXPECT_NE(later.output.find("manifest.csv:4: left: expected the shape [4] of the first training "
                              "sample ('a', "),
            std::string::npos)
      << later.output;
  EXPECT_NE(later.output.find("manifest.csv:2), found [8] in 'c'"), std::string::npos)
      << later.output;
}

TEST_F(TrainCommand, AModalityWithoutTrainingSamplesNamesTheManifest) {
  write_text(folder_ / "manifest.csv",
             "id,split,label,left,right\na,train,0,,1\nb,train,1,,2\nc,val,0,1,1\n");
  expect_error(train("--set data.batch_size=2"), 4,
               "manifest.csv: expected training samples with the modality left: none has");
}

TEST_F(TrainCommand, AFusionThatDoesNotFitIsNamedWithItsLine) {
  const auto place = [&](const std::string& what) {
    return fmt::format("{}:14: fusion.type: {}", recipe().string(), what);
  };
  std::string text = read_text(recipe());
  const size_t type = text.find("\"concat\"");
  text.replace(type, 8, "\"mmtm\"");
  write_text(recipe(), text);
  expect_error(train(""), 3, place("[mmtm] this fusion takes maps, but the encoder of left gives"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "run"));
}

TEST_F(TrainCommand, NumbersThatAreOutOfRangeAreToldTheirBounds) {
  expect_error(train("--set modalities.left.normalize=fixed --set modalities.left.std=1e-38"), 3,
               "std: expected a number above 0 that a float can hold, so at least 1.18e-38, got "
               "1e-38");
  expect_error(train("--set 'task={ type = \"ordinal\", low = 5 }'"), 3,
               "task.low: expected less than task.high (3), got 5");
  expect_error(train("--set 'task={ type = \"regression\", targets = [\"a\", \"\"] }'"), 3,
               "task.targets: expected names, got an empty one");
  expect_error(train("--set 'fusion={ type = \"transformer\", dropout = 1 }'"), 3,
               "fusion.dropout: expected a number below 1, got 1");
}

/// A run of segmentation whose labels in `ignored` are all of the class that does not count.
class SegmentationCommand : public TrainCommand {
 protected:
  void write_data(const std::string& ignored) const {
    for (const char* name : {"counted", "ignored"}) {
      write_npy(folder_ / fmt::format("{}.npy", name), {8, 8},
                std::vector<float>(64, name[0] == 'i' ? 255.0F : 1.0F));
    }
    write_npy(folder_ / "input.npy", {1, 8, 8}, std::vector<float>(64, 0.5F));
    std::string manifest = "id,split,label,left\n";
    for (const std::string split : {"train", "val", "test"}) {
      for (const int row : {0, 1}) {
        manifest += fmt::format("{}{},{},{}.npy,input.npy\n", split, row, split,
                                split == ignored || row == 0 ? "ignored" : "counted");
      }
    }
    write_text(folder_ / "manifest.csv", manifest);
    write_text(recipe(),
               "[data]\nmanifest = \"manifest.csv\"\nbatch_size = 2\nworkers = 0\n"
               "[modalities.left]\nkind = \"array\"\n"
               "encoder = { type = \"cnn\", in_channels = 1, channels = [4], maps = true }\n"
               "[fusion]\ntype = \"decoder\"\nchannels = [4, 4]\n"
               "[task]\ntype = \"segmentation\"\nclasses = 2\nsize = 8\n"
               "[method]\ntype = \"joint\"\n[optimizer]\ntype = \"sgd\"\n[train]\nepochs = 1\n");
  }
};

TEST_F(SegmentationCommand, ASplitOfIgnoredPixelsAloneIsAnError) {
  for (const std::string split : {"train", "val", "test"}) {
    write_data(split);
    expect_error(train(""), 4,
                 fmt::format("manifest.csv: expected labels of the split {} with a pixel that "
                             "counts, found none: all are 255 (task.ignore)",
                             split));
  }
  EXPECT_FALSE(std::filesystem::exists(folder_ / "run"));
  write_data("none");
  const Outcome outcome = train("");
  ASSERT_EQ(outcome.code, 0) << outcome.output;
  write_data("val");
  expect_error(unbraid_program("eval " + run() + " --split val"), 4, "of the split val");
}

}  // namespace
}  // namespace unbraid
