// The program as a user meets it: exit codes, one-line errors, files left behind.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <thread>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "apps/command_line.h"
#include "unbraid/core/safetensors.h"

namespace unbraid {
namespace {

using nlohmann::json;
using unbraid::testing::CommandLine;
using unbraid::testing::Outcome;
using unbraid::testing::read_text;
using unbraid::testing::TemporaryFolder;
using unbraid::testing::unbraid_program;
using unbraid::testing::write_npy;
using unbraid::testing::write_text;

TEST_F(CommandLine, HelpIsEverywhere) {
  for (const char* command :
       {"", "demo", "train", "eval", "predict", "export", "prepare", "inspect", "doctor"}) {
    const Outcome outcome = unbraid_program(std::string(command) + " --help");
    EXPECT_EQ(outcome.code, 0);
    EXPECT_NE(outcome.output.find("--help"), std::string::npos);
  }
  EXPECT_EQ(unbraid_program("--version").code, 0);
}

TEST_F(CommandLine, TheDemoComparesAccuraciesAlone) {
  expect_error(unbraid_program("demo --set 'task={ type = \"regression\" }'"), 3,
               "task: expected one of accuracy, which the demo compares, got mae");
}

TEST_F(CommandLine, UsageErrorsAreTwo) {
  expect_error(unbraid_program(""), 2, "command");
  expect_error(unbraid_program("trian"), 2, "trian");
  expect_error(unbraid_program("train"), 2, "RECIPE");
  expect_error(unbraid_program("demo --seeds 0"), 2, "--seeds");
  expect_error(unbraid_program("train " + recipe().string() + " --out ''"), 2,
               "--out: expected a name, got nothing");
  const Outcome full = unbraid_program("--help 2>/dev/null >/dev/full");
  EXPECT_EQ(full.code, 5);
  expect_error(train("--set epochs"), 2, "--set epochs: expected key=value");
}

TEST_F(CommandLine, TrainsEvaluatesAndRepeats) {
  const Outcome first = train("");
  ASSERT_EQ(first.code, 0) << first.output;
  EXPECT_NE(first.output.find("best epoch"), std::string::npos) << first.output;
  const json summary = json::parse(read_text(folder_ / "run/summary.json"));
  EXPECT_EQ(summary["method"], "dgl");

  const std::string run = (folder_ / "run").string();
  const Outcome eval = unbraid_program("eval " + run);
  EXPECT_EQ(eval.code, 0) << eval.output;
  EXPECT_NE(eval.output.find("left alone"), std::string::npos) << eval.output;
  EXPECT_NE(eval.output.find("confusion matrix"), std::string::npos) << eval.output;
  EXPECT_NE(eval.output.find(fmt::format("{:.4f}", summary["accuracy"].get<double>())),
            std::string::npos)
      << eval.output;
  EXPECT_EQ(unbraid_program("eval " + run + " --split val --absent left").code, 0);
  expect_error(unbraid_program("eval " + run + " --absent smell"), 2, "left, right");
  expect_error(unbraid_program("eval " + run + " --absent left --absent right"), 2, "--absent");
  expect_error(unbraid_program("eval " + run + " --split dev"), 2, "dev");

  // The resolved recipe repeats the run, from anywhere, and resolves to itself.
  const Outcome again = unbraid_program(
      fmt::format("train {}/recipe.toml --out {}", run, (folder_ / "again").string()));
  ASSERT_EQ(again.code, 0) << again.output;
  EXPECT_EQ(read_text(folder_ / "run/recipe.toml"), read_text(folder_ / "again/recipe.toml"));
  EXPECT_EQ(read_text(folder_ / "run/checkpoints/last/model.safetensors"),
            read_text(folder_ / "again/checkpoints/last/model.safetensors"));
}

TEST_F(CommandLine, EveryMethodTrains) {
  for (
      const char* method :
      {"joint", "auxiliary", "dgl", "{type=\\\"unimodal\\\",modality=\\\"right\\\"}",
       R"({type=\"route\",multimodal_to_encoder=[0.5,0],multimodal_to_fusion=1,unimodal_to_encoder=1,unimodal_to_fusion=0})"}) {
    const std::string value =
        method[0] == '{' ? std::string("method=") + method : fmt::format("method.type={}", method);
    const Outcome outcome = train(fmt::format("--set train.epochs=1 --set \"{}\"", value),
                                  fmt::format("run{}", std::hash<std::string>()(method)));
    EXPECT_EQ(outcome.code, 0) << outcome.output;
  }
}

TEST_F(CommandLine, ResumesAndRefusesToOverwrite) {
  ASSERT_EQ(train("").code, 0);
  expect_error(train(""), 2, "already holds a run");
  expect_error(train("--resume --set train.epochs=5"), 3,
               "was started with (train.epochs = 3, not 5)");
  EXPECT_EQ(train("--resume").code, 0);
  const Outcome own =
      unbraid_program("train " + (folder_ / "run/recipe.toml").string() + " --resume");
  EXPECT_EQ(own.code, 0);
  EXPECT_NE(own.output.find("in " + (folder_ / "run").string()), std::string::npos) << own.output;
  EXPECT_EQ(train("--resume", "fresh").code, 0);
}

TEST_F(CommandLine, InspectShowsWhatTheModelSees) {
  const std::string sheet = (folder_ / "sheet.png").string();
  const std::string command = "inspect " + recipe().string() + " --sheet " + sheet;
  const Outcome outcome = unbraid_program(command + " --samples 10 --rows 2");
  ASSERT_EQ(outcome.code, 0) << outcome.output;
  for (const std::string part :
       {"60 samples", "train     val    test", "1                             12       4       4",
        "10 of 36 samples of train", "left        array   [4]", "from left to right left, right"}) {
    EXPECT_NE(outcome.output.find(part), std::string::npos) << part << "\n" << outcome.output;
  }
  EXPECT_TRUE(read_text(sheet).starts_with("\x89PNG"));
  EXPECT_EQ(unbraid_program(command + " --split val").code, 0);
  expect_error(unbraid_program(command + " --split dev"), 2, "dev");
  expect_error(unbraid_program(command + " --samples 0"), 2, "--samples");
  EXPECT_EQ(unbraid_program("inspect " + recipe().string() + " --sheet /proc/no.png").code, 5);
  EXPECT_EQ(unbraid_program("inspect " + recipe().string() + " --sheet /dev/full").code, 5);
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/full"));
  const std::string before = read_text(recipe());
  expect_error(unbraid_program("inspect " + recipe().string() + " --sheet " + recipe().string()), 2,
               "is not a PNG");
  EXPECT_EQ(read_text(recipe()), before);
}

TEST_F(CommandLine, InspectCountsWhatIsMissing) {
  std::string manifest = read_text(folder_ / "manifest.csv");
  for (const std::string row : {"s1,train,1,1,1\n", "s2,train,2,2,2\n", "s40,val,1,40,40\n"}) {
    const size_t place = manifest.find(row);
    ASSERT_NE(place, std::string::npos);
    const size_t cell = manifest.rfind(',', place + row.size());
    manifest.erase(cell + 1, place + row.size() - 2 - cell);
  }
  write_text(folder_ / "manifest.csv", manifest);
  const Outcome outcome = unbraid_program("inspect " + recipe().string() + " --sheet " +
                                          (folder_ / "sheet.png").string());
  ASSERT_EQ(outcome.code, 0) << outcome.output;
  for (const std::string part :
       {"left                           0       0       0\n",
        "right                          2       1       0\n", "36 of 36 samples of train"}) {
    EXPECT_NE(outcome.output.find(part), std::string::npos) << part << "\n" << outcome.output;
  }
  ASSERT_EQ(train("").code, 0);
  const Outcome all =
      unbraid_program("eval " + (folder_ / "run").string() + " --split val --subsets");
  ASSERT_EQ(all.code, 0) << all.output;
  for (const std::string part : {"left ", "right ", "left + right ", "samples"}) {
    EXPECT_NE(all.output.find(part), std::string::npos) << part << "\n" << all.output;
  }
  expect_error(unbraid_program("eval " + (folder_ / "run").string() + " --subsets --absent left"),
               2, "--absent");
}

// Six modalities, of which samples lack one or another, in every fusion that takes any number.
TEST_F(CommandLine, SixModalitiesLearnInEveryFusion) {
  const std::vector<std::string> names{"a", "b", "c", "d", "e", "f"};
  std::string manifest = "id,split,label,a,b,c,d,e,f\n";
  for (int row = 0; row < 60; ++row) {
    const char* split = row < 36 ? "train" : row < 48 ? "val" : "test";
    manifest += fmt::format("s{},{},{}", row, split, row % 3);
    for (int m = 0; m < 6; ++m) {
      manifest += (row + m) % 4 == 0 ? "," : fmt::format(",{}", row);
    }
    manifest += "\n";
  }
  write_text(folder_ / "manifest.csv", manifest);
  std::string text = "[data]\nmanifest = \"manifest.csv\"\nbatch_size = 12\nworkers = 1\n";
  for (const std::string& name : names) {
    text += fmt::format(
        "[modalities.{}]\nkind = \"array\"\ntable = \"table.npy\"\n"
        "encoder = {{ type = \"mlp\", layers = [4, 8] }}\n",
        name);
  }
  write_text(recipe(), text +
                           "[fusion]\ntype = \"sum\"\n[task]\ntype = \"classification\"\n"
                           "classes = 3\n[method]\ntype = \"dgl\"\n[optimizer]\n"
                           "type = \"adam\"\nlr = 0.02\n[train]\nepochs = 12\n");
  for (const std::string fusion : {"concat", "sum", "low-rank", "central", "transformer"}) {
    SCOPED_TRACE(fusion);
    const Outcome outcome =
        train(fmt::format("--set fusion='{{ type = \"{}\" }}'", fusion), fusion);
    ASSERT_EQ(outcome.code, 0) << outcome.output;
    const json summary = json::parse(read_text(folder_ / (fusion + "/summary.json")));
    EXPECT_GT(summary["accuracy"].get<double>(), 0.8);
  }
}

TEST_F(CommandLine, AFusionThatDoesNotTakeTheFeaturesIsAnErrorOfTheRecipe) {
  std::vector<float> values(size_t{60} * 8 * 4, 1.0F);
  write_npy(folder_ / "table.npy", {60, 8, 4}, values);
  const std::string encoder =
      "--set modalities.{}.encoder='{{ type = \"cnn1d\", in_features = 4, tokens = true }}' ";
  expect_error(
      train(fmt::format(fmt::runtime(encoder + encoder), "left", "right") +
            "--set fusion='{ type = \"transformer\", max_tokens = 1 }'"),
      3, "fusion.type: does not take these features: [transformer] expected at most 1 tokens");
}

TEST_F(CommandLine, UpperStagesOfResNetsTrainAsMmtm) {
  std::vector<float> values(size_t{60} * 16 * 16);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>((i * 37 % 101) * 0.01 + static_cast<double>(i / 256 % 3));
  }
  write_npy(folder_ / "table.npy", {60, 1, 16, 16}, values);
  const std::string encoder =
      "encoder='{ type = \"resnet18\", in_channels = 1, width = 4, stem = \"small\", stages = ";
  const auto with_stages = [&](int stages) {
    return train(fmt::format(
        "--set fusion='{{ type = \"mmtm\", blocks = 1 }}' --set modalities.left.{}{} }}' "
        "--set modalities.right.{}{} }}'",
        encoder, stages, encoder, stages));
  };
  expect_error(with_stages(4), 3, "[mmtm] this fusion takes maps, but the encoder of left gives");
  const Outcome outcome = with_stages(2);
  EXPECT_EQ(outcome.code, 0) << outcome.output;
}

TEST_F(CommandLine, RowsWithoutAnyModalityAreErrorsUnlessTheMethodLeavesSomeOut) {
  std::string manifest = read_text(folder_ / "manifest.csv");
  const size_t row = manifest.find("s1,train,1,1,1\n");
  ASSERT_NE(row, std::string::npos);
  manifest.replace(row, 15, "s1,train,1,,\n");
  write_text(folder_ / "manifest.csv", manifest);
  expect_error(train(""), 4, "expected a cell for at least one of left, right, all are empty");
  EXPECT_EQ(train("--set method='{ type = \"unimodal\", modality = \"left\" }'").code, 0);
}

TEST_F(CommandLine, PrepareErrors) {
  const std::string out = " -o " + (folder_ / "made.csv").string();
  expect_error(unbraid_program("prepare cremad " + folder_.path().string() + out), 4, "AudioWAV");
  expect_error(unbraid_program("prepare creamd " + folder_.path().string() + out), 2,
               "did you mean cremad?");
  expect_error(
      unbraid_program("prepare folders " + folder_.path().string() + out + " --split-list train"),
      2, "--split-list train: expected train=FILE");
  expect_error(unbraid_program("prepare cremad " + folder_.path().string()), 2, "--out");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "made.csv"));
  expect_error(unbraid_program("prepare cremad ''" + out), 2, "expected a name");
  expect_error(unbraid_program("prepare cremad /tmp --seed -1" + out), 2, "--seed");
  write_text(folder_ / "mine.wav", "RIFF");
  expect_error(unbraid_program("prepare folders /tmp -o " + (folder_ / "mine.wav").string()), 2,
               "is not a manifest");
  // One class, and names that no manifest can hold.
  const auto clip = [&](const std::string& name) {
    std::filesystem::create_directories((folder_ / name).parent_path());
    write_text(folder_ / name, "x");
  };
  const std::string tree = "prepare folders " + (folder_ / "tree").string() + out;
  clip("tree/face/train/a/1.png");
  clip("tree/face/train/a/2.png");
  expect_error(unbraid_program(tree), 4, "at least 2 classes");
  clip("tree/face/train/b/3.png");
  clip("tree/face/train/b/4.png");
  const Outcome made = unbraid_program(tree);
  EXPECT_EQ(made.code, 0);
  EXPECT_NE(made.output.find("warning: there is no test sample\n"), std::string::npos);
  std::filesystem::create_directory_symlink("loop", folder_ / "tree/face/train/a/loop");
  EXPECT_EQ(unbraid_program(tree).code, 0);
  clip("tree/face/train/b\n/5.png");
  expect_error(unbraid_program(tree), 4,
               "tree/face/train/b?/5.png: expected a name in printable characters");
}

TEST_F(CommandLine, PrepareReplacesTablesWithTheirManifestOnly) {
  const std::string raw = (folder_ / "mosei_senti_data.pkl").string();
  ASSERT_EQ(std::system(fmt::format("/usr/bin/python3 {}/tests/data/miniature_mosei.py {}",
                                    UNBRAID_SOURCE_DIR, raw)
                            .c_str()),
            0);
  const std::string command = fmt::format("prepare mosei {} -o {}", folder_.path().string(),
                                          (folder_ / "made.csv").string());
  std::filesystem::create_directory(folder_ / "folder");
  expect_error(
      unbraid_program(fmt::format("prepare mosei {} -o {}", raw, (folder_ / "folder").string())), 5,
      "expected a regular file, found a directory");
  EXPECT_TRUE(std::filesystem::is_empty(folder_ / "folder"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "folder_audio.npy"));
  write_text(folder_ / "made_text.npy", "\x93NUMPY of mine");
  expect_error(unbraid_program(command), 2, "made_text.npy: is there already without");
  EXPECT_EQ(read_text(folder_ / "made_text.npy"), "\x93NUMPY of mine");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "made.csv"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "made_audio.npy"));
  std::filesystem::remove(folder_ / "made_text.npy");
  const Outcome first = unbraid_program(command);
  EXPECT_EQ(first.code, 0) << first.output;
  EXPECT_NE(first.output.find("made_audio.npy, [64, 6, 5] float32, 6 values"), std::string::npos)
      << first.output;
  const std::string table = read_text(folder_ / "made_text.npy");
  EXPECT_EQ(unbraid_program(command).code, 0);
  EXPECT_EQ(read_text(folder_ / "made_text.npy"), table);
  write_text(folder_ / "made_text.npy", "my notes");
  expect_error(unbraid_program(command), 2, "made_text.npy: is there already and is not a .npy");
  EXPECT_TRUE(std::filesystem::exists(folder_ / "made.csv"));
}

TEST_F(CommandLine, BadRecipesAreThree) {
  const auto fails = [&](const std::string& setting, const std::string& says) {
    expect_error(train("--set '" + setting + "'"), 3, says);
  };
  fails("optimizer.leraning_rate=0.1", "optimizer.leraning_rate: unknown key");
  fails("train.epcohs=2", "did you mean epochs?");
  fails("train.epochs=\"many\"", "train.epochs: expected an integer, got \"many\"");
  fails("train.epochs=0", "at least 1");
  fails("method.type=gdl", "did you mean \"dgl\"?");
  fails("modalities.left.kind=smell", "modalities.left.kind");
  fails("modalities.left.encoder.type=rasnet18", "did you mean \"resnet18\"?");
  fails("fusion.type=flim", "did you mean \"film\"?");
  fails("device=cuda:99", "cuda:99");
  fails("extra.table=1", "extra: unknown key");
  fails("fusion.released=true", "fusion.released: unknown key");
  fails("data.manifest=\"\"", "data.manifest: expected the path of a manifest");
  fails("task.class_weights=[0, 1, 1]", "task.class_weights");
  fails("task.class_weights=[1e39, 1, 1]", "task.class_weights");
  fails("optimizer={ type = \"sgd\", momentum = 0, nesterov = true }",
        "optimizer.nesterov: expected a momentum above 0");
  fails("schedule={ type = \"cosine\", min_lr = 7.0 }", "schedule.min_lr: expected at most");
  fails("data.batch_size=1000", "data.batch_size: expected at most 36, the number of training");
  fails("modalities.left.encoder.layers=[5, 8]",
        "modalities.left.encoder: does not take samples of the shape [4]");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "run"));
  write_text(folder_ / "broken.toml", "[data\n");
  expect_error(unbraid_program("train " + (folder_ / "broken.toml").string()), 3, "broken.toml:1");
  expect_error(unbraid_program("train " + (folder_ / "none.toml").string()), 3, "none.toml");
  expect_error(unbraid_program("train " + folder_.path().string()), 3, "expected a regular file");
}

TEST_F(CommandLine, BadDataIsFour) {
  const std::string good = read_text(folder_ / "manifest.csv");
  const auto fails = [&](const std::string& manifest, const std::string& says) {
    write_text(folder_ / "manifest.csv", manifest);
    expect_error(train(""), 4, says);
  };
  fails(good + "extra,test,3,0,0\n", "manifest.csv:62: label: expected an integer from 0 to 2");
  fails(good + "extra,test,1,60,0\n", "manifest.csv:62");
  fails(good + "extra,dev,1,0,0\n", "manifest.csv:62");
  fails(good + "s1,test,1,0,0\n", "manifest.csv:62");
  fails(good + "extra,test,1,0\n", "manifest.csv:62");
  fails("id,split,label,left\n", "right");
  fails("", "manifest.csv");
  fails("id,split,label,left,right\na,train,0,1,1\n", "val");
  write_text(folder_ / "manifest.csv", good);
  expect_error(train("--set data.manifest=/nowhere.csv"), 4, "/nowhere.csv");
}

TEST_F(CommandLine, ErrorsStayOneLineWhateverAManifestHolds) {
  std::string manifest = read_text(folder_ / "manifest.csv");
  write_text(folder_ / "manifest.csv", manifest + "extra,test,0,\"\x1b[31m\n\",0\n");
  expect_error(train(""), 4, "?[31m?");
}

TEST_F(CommandLine, AFileSizeLimitIsFive) {
  const Outcome outcome =
      unbraid_program(fmt::format("doctor >/dev/null; ulimit -f 1; {} train {} --out {}",
                                  UNBRAID_PROGRAM, recipe().string(), (folder_ / "run").string()));
  EXPECT_EQ(outcome.code, 5) << outcome.output;
  EXPECT_NE(outcome.output.find("File too large"), std::string::npos) << outcome.output;
}

TEST_F(CommandLine, ABatchOfOneThatCannotBeNormalisedIsThree) {
  write_npy(folder_ / "pixel.npy", {1, 1, 1}, {0.5F});
  std::string manifest = "id,split,label,left,right\n";
  for (int row = 0; row < 5; ++row) {
    manifest += fmt::format("s{},{},0,pixel.npy,0\n", row, row < 3 ? "train" : "val");
  }
  write_text(folder_ / "manifest.csv", manifest);
  read_left_from_files();
  const std::string cnn =
      "--set 'modalities.left.encoder={ type = \"cnn\", in_channels = 1, channels = [4] }' --set "
      "data.batch_size=2 --set data.drop_last=";
  expect_error(train(cnn + "false"), 3, "does not take samples one by one");
  EXPECT_EQ(train(cnn + "true").code, 0);
}

TEST_F(CommandLine, SaysThatThereIsNoTestSplit) {
  const std::string manifest = read_text(folder_ / "manifest.csv");
  write_text(folder_ / "manifest.csv", manifest.substr(0, manifest.find("s48,")));
  const Outcome outcome = train("");
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_NE(outcome.output.find("no test rows"), std::string::npos) << outcome.output;
}

TEST_F(CommandLine, ASampleOfAnotherShapeIsFour) {
  write_npy(folder_ / "four.npy", {1, 4}, std::vector<float>(4, 0.5F));
  write_npy(folder_ / "eight.npy", {1, 8}, std::vector<float>(8, 0.5F));
  write_text(folder_ / "manifest.csv",
             "id,split,label,left,right\na,train,0,four.npy,1\nb,train,1,four.npy,1\n"
             "c,val,0,eight.npy,1\n");
  read_left_from_files();
  const Outcome outcome = train("--set data.batch_size=2");
  EXPECT_EQ(outcome.code, 4) << outcome.output;
  EXPECT_NE(outcome.output.find("manifest.csv:4: left: expected the shape [1, 4]"),
            std::string::npos)
      << outcome.output;
}

TEST_F(CommandLine, AManifestRowWithAMissingFileIsFour) {
  write_text(folder_ / "manifest.csv",
             "id,split,label,left,right\na,train,0,a.npy,1\nb,val,0,a.npy,1\n");
  read_left_from_files();
  expect_error(train(""), 4, "manifest.csv:2");
}

TEST_F(CommandLine, SkipsWhatCannotBeReadWhenAsked) {
  write_npy(folder_ / "good.npy", {1, 4}, {1, 0, 0, 0});
  write_text(folder_ / "damaged, \"x\".npy", "\x93NUMPY nonsense");
  std::string manifest = "id,split,label,left,right\n";
  for (int row = 0; row < 20; ++row) {
    const char* split = row < 12 ? "train" : row < 16 ? "val" : "test";
    const char* cell = row == 3    ? "\"damaged, \"\"x\"\".npy\""
                       : row == 0  ? "missing.npy"
                       : row == 13 ? "missing.npy"
                                   : "good.npy";
    manifest += fmt::format("s{},{},{},{},{}\n", row, split, row % 3, cell, row);
  }
  write_text(folder_ / "manifest.csv", manifest);
  read_left_from_files();
  const std::string skip = "--set data.batch_size=4 --set data.on_error=skip";
  expect_error(train("--set data.batch_size=4"), 4, "manifest.csv:2: left: ");
  expect_error(train(skip, "strict"), 4,
               "1 of the 12 samples of train cannot be read, more than data.max_skipped (0.05)");
  const Outcome outcome = train(skip + " --set data.max_skipped=0.3");
  ASSERT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_NE(outcome.output.find("run/quarantine.csv"), std::string::npos) << outcome.output;
  const std::string list = read_text(folder_ / "run/quarantine.csv");
  EXPECT_TRUE(list.starts_with("id,split,reason\ns0,train,")) << list;
  EXPECT_NE(list.find("\ns3,train,\""), std::string::npos) << list;
  EXPECT_NE(list.find("\ns13,val,"), std::string::npos) << list;
  EXPECT_EQ(std::count(list.begin(), list.end(), '\n'), 4) << list;
  const json summary = json::parse(read_text(folder_ / "run/summary.json"));
  EXPECT_EQ(summary["quarantined"], (json{{"train", 2}, {"val", 1}}));
  const std::string run = (folder_ / "run").string();
  const Outcome eval = unbraid_program("eval " + run + " --split val");
  EXPECT_NE(eval.output.find("3 samples (1 more cannot be read)"), std::string::npos)
      << eval.output;
  // Continued, the list is kept.
  EXPECT_EQ(unbraid_program("train " + run + "/recipe.toml --resume").code, 0);
  EXPECT_EQ(read_text(folder_ / "run/quarantine.csv"), list);
}

TEST_F(CommandLine, ATestSplitThatCannotBeReadCostsTheTestAlone) {
  write_npy(folder_ / "good.npy", {1, 4}, {1, 0, 0, 0});
  write_text(folder_ / "damaged.npy", "\x93NUMPY nonsense");
  read_left_from_files();
  const std::string rows =
      "id,split,label,left,right\na,train,0,good.npy,1\nb,train,1,good.npy,2\n";
  const std::string skip =
      "--set data.on_error=skip --set data.max_skipped=1 "
      "--set data.batch_size=2 --set train.epochs=1";
  for (const std::string unread : {"missing.npy", "damaged.npy"}) {
    write_text(folder_ / "manifest.csv",
               rows + "c,val,0,good.npy,1\nd,test,0," + unread + ",1\ne,test,0," + unread + ",2\n");
    const std::string name = "run-" + unread;
    const Outcome outcome = train(skip, name);
    ASSERT_EQ(outcome.code, 0) << outcome.output;
    const std::string reason =
        "none can be read: " + (folder_ / "manifest.csv").string() + ":5: left: ";
    EXPECT_NE(outcome.output.find("no samples of the split test, so no metrics beside those on "
                                  "val: " +
                                  reason),
              std::string::npos)
        << outcome.output;
    const json summary = json::parse(read_text(folder_ / name / "summary.json"));
    EXPECT_EQ(summary["best_epoch"], 1);
    EXPECT_EQ(summary["quarantined"], (json{{"test", 2}}));
    EXPECT_FALSE(summary.contains("accuracy"));
    EXPECT_TRUE(summary["no_test"].get<std::string>().starts_with(reason)) << summary;
    expect_error(unbraid_program("eval " + (folder_ / name).string()), 4, reason);
    // Without val nothing could be chosen: said before training.
    write_text(folder_ / "manifest.csv", rows + "c,val,0," + unread + ",1\n");
    const Outcome none = train(skip, "none");
    expect_error(none, 4, "expected samples of the split val, none can be read: ");
    EXPECT_EQ(none.output.find("epoch"), std::string::npos) << none.output;
  }
}

TEST_F(CommandLine, WhatMayBeSkippedHoldsForARunThatIsResumed) {
  write_npy(folder_ / "good.npy", {1, 4}, {1, 0, 0, 0});
  write_text(folder_ / "damaged.npy", "\x93NUMPY nonsense");
  read_left_from_files();
  write_text(folder_ / "manifest.csv",
             "id,split,label,left,right\na,train,0,good.npy,1\nb,train,1,good.npy,2\n"
             "c,val,0,good.npy,1\nd,test,0,damaged.npy,1\ne,test,0,good.npy,1\n");
  EXPECT_EQ(train("--set data.batch_size=2 --set train.epochs=1 --set data.on_error=skip "
                  "--set data.max_skipped=0.2")
                .code,
            4);
  const std::string resume = "train " + (folder_ / "run/recipe.toml").string() + " --resume";
  EXPECT_EQ(unbraid_program(resume).code, 4);
  const auto summary = [&] { return json::parse(read_text(folder_ / "run/summary.json")); };
  EXPECT_TRUE(summary().contains("no_test"));
  EXPECT_EQ(summary()["quarantined"], (json{{"test", 1}}));
  write_npy(folder_ / "damaged.npy", {1, 4}, {1, 0, 0, 0});
  const Outcome mended = unbraid_program(resume);
  EXPECT_EQ(mended.code, 0) << mended.output;
  EXPECT_EQ(summary()["quarantined"], json::object());
  EXPECT_FALSE(std::filesystem::exists(folder_ / "run/quarantine.csv"));
  // What is known of train from the first attempt counts in the next.
  write_text(folder_ / "damaged.npy", "\x93NUMPY nonsense");
  write_text(folder_ / "manifest.csv",
             "id,split,label,left,right\na,train,0,good.npy,1\nb,train,1,damaged.npy,2\n"
             "c,val,0,good.npy,1\n");
  const std::string other =
      "--set data.batch_size=2 --set train.epochs=1 --set data.on_error=skip "
      "--set data.max_skipped=0.2 --resume";
  EXPECT_EQ(train(other, "other").code, 4);
  EXPECT_EQ(train(other, "other").code, 4);
}

TEST_F(CommandLine, ATestThatFailsLeavesTheRunSummedUp) {
  write_npy(folder_ / "good.npy", {1, 4}, {1, 0, 0, 0});
  write_text(folder_ / "damaged.npy", "\x93NUMPY nonsense");
  read_left_from_files();
  write_text(folder_ / "manifest.csv",
             "id,split,label,left,right\na,train,0,good.npy,1\nb,train,1,good.npy,2\n"
             "c,val,0,good.npy,1\nd,test,0,damaged.npy,1\n");
  const Outcome failed = train("--set data.batch_size=2 --set train.epochs=1");
  EXPECT_EQ(failed.code, 4) << failed.output;
  const auto summary = [&] { return json::parse(read_text(folder_ / "run/summary.json")); };
  const json without = summary();
  EXPECT_EQ(without["best_epoch"], 1);
  EXPECT_NE(without["no_test"].get<std::string>().find("manifest.csv:5: left: "),
            std::string::npos);
  EXPECT_FALSE(without.contains("accuracy"));
  // Once the data is mended, what is missing is made up for.
  write_npy(folder_ / "damaged.npy", {1, 4}, {1, 0, 0, 0});
  const Outcome mended =
      unbraid_program("train " + (folder_ / "run/recipe.toml").string() + " --resume");
  EXPECT_EQ(mended.code, 0) << mended.output;
  const json with = summary();
  EXPECT_FALSE(with.contains("no_test"));
  EXPECT_TRUE(with["accuracy"].is_number());
  EXPECT_EQ(with["step_seconds_median"], without["step_seconds_median"]);
  // Of a run that was tested the summary stays, but a test that fails now is an error.
  write_text(folder_ / "damaged.npy", "\x93NUMPY nonsense");
  EXPECT_EQ(unbraid_program("train " + (folder_ / "run/recipe.toml").string() + " --resume").code,
            4);
  EXPECT_EQ(summary(), with);
}

TEST_F(CommandLine, BadCheckpointsAndStorageAreFive) {
  ASSERT_EQ(train("").code, 0);
  EXPECT_EQ(std::system(  // NOLINT(cert-env33-c)
                (std::string(UNBRAID_PROGRAM) + " doctor >/dev/full 2>&1").c_str()),
            5 << 8);
  const auto weights = folder_ / "run/checkpoints/best/model.safetensors";
  const std::string content = read_text(weights);
  write_text(weights, content.substr(0, 40));
  expect_error(unbraid_program("eval " + (folder_ / "run").string()), 5, "model.safetensors");
  expect_error(unbraid_program("eval " + folder_.path().string() + "/none"), 5, "recipe.toml");
  write_text(folder_ / "weights.safetensors", "nonsense");
  expect_error(train("--set train.init=" + (folder_ / "weights.safetensors").string(), "other"), 5,
               "weights.safetensors");
  expect_error(train("", "table.npy/run"), 5, "table.npy/run");
}

TEST_F(CommandLine, InitialWeightsAreThoseOfTheFile) {
  ASSERT_EQ(train("").code, 0);
  const auto weights = (folder_ / "run/checkpoints/last/model.safetensors").string();
  ASSERT_EQ(
      train("--set train.epochs=1 --set optimizer.lr=0 --set train.init=" + weights, "frozen").code,
      0);
  EXPECT_EQ(read_text(weights), read_text(folder_ / "frozen/checkpoints/last/model.safetensors"));
  // A run that exists needs them no more.
  std::filesystem::remove(weights);
  EXPECT_EQ(unbraid_program("eval " + (folder_ / "frozen").string()).code, 0);
}

TEST_F(CommandLine, WeightsOfAnEncoderAreReportedAndCanBeFrozen) {
  ASSERT_EQ(train("").code, 0);
  const auto weights_of_left = [this](const std::string& run) {
    NamedTensors left;
    for (const auto& [name, tensor] :
         read_safetensors((folder_ / run / "checkpoints/last/model.safetensors").string())
             .tensors) {
      if (name.starts_with("encoders.left.")) {
        left.emplace_back(name.substr(std::string("encoders.left.").size()), tensor);
      }
    }
    return left;
  };
  NamedTensors given = weights_of_left("run");
  const NamedTensors trained = given;
  given.emplace_back("fc.weight", torch::zeros({2}));
  write_safetensors((folder_ / "left.safetensors").string(), given);
  const std::string from_file = "--set modalities.left.weights=left.safetensors ";
  // A path of --set is relative to the working directory.
  expect_error(train(from_file, "none"), 5, "left.safetensors");
  std::string text = read_text(recipe());
  text.insert(text.find("[modalities.right]"), "weights = \"left.safetensors\"\n");
  write_text(recipe(), text);
  const Outcome frozen = train("--set 'train.freeze=[\"encoders.left.*\"]'", "frozen");
  ASSERT_EQ(frozen.code, 0) << frozen.output;
  const std::string report = fmt::format(
      "left: weights of {}: {} tensors matched, 0 missing, 1 unexpected (\"fc.weight\")",
      (folder_ / "left.safetensors").string(), trained.size());
  EXPECT_NE(frozen.output.find(report), std::string::npos) << frozen.output;
  EXPECT_NE(read_text(folder_ / "frozen/log.txt").find(report), std::string::npos);
  const NamedTensors kept = weights_of_left("frozen");
  ASSERT_EQ(kept.size(), trained.size());
  for (size_t i = 0; i < kept.size(); ++i) {
    EXPECT_TRUE(torch::equal(kept[i].second, trained[i].second)) << kept[i].first;
  }
  // A run that exists needs the file no more, and says nothing of it.
  std::filesystem::remove(folder_ / "left.safetensors");
  const Outcome resumed =
      unbraid_program("train " + (folder_ / "frozen/recipe.toml").string() + " --resume");
  EXPECT_EQ(resumed.code, 0) << resumed.output;
  EXPECT_EQ(resumed.output.find("weights of"), std::string::npos);
  expect_error(train("", "other"), 5, "left.safetensors");
  expect_error(train("--set train.init=x.safetensors", "other"), 3, "modalities.left.weights");
}

TEST_F(CommandLine, PatternsOfParametersAreCheckedBeforeThereIsARun) {
  expect_error(train("--set 'train.freeze=[\"encoders.lefd.*\"]'"), 3,
               "recipe.toml: train.freeze: expected a pattern that matches a parameter, got "
               "\"encoders.lefd.*\"; did you mean \"encoders.left.*\"?");
  expect_error(train("--set 'train.freeze=[\"*\"]'"), 3, "left to train");
  expect_error(train("--set 'optimizer.groups={\"fusoin.*\"={lr_scale=0.1}}'"), 3,
               "optimizer.groups: expected a pattern that matches a parameter, got "
               "\"fusoin.*\"; did you mean \"fusion.*\"?");
  expect_error(train("--set 'optimizer.groups={\"fusion.*\"={lr=0.1}}'"), 3, "lr: unknown key");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "run"));
  // Both runs of a modality alone and of all take the same recipe.
  EXPECT_EQ(train("--set train.epochs=1 --set 'train.freeze=[\"encoders.left.*\"]' --set "
                  "'optimizer.groups={\"encoders.left.*\"={lr_scale=0.1}}' --set "
                  "'method={type=\"unimodal\",modality=\"right\"}'")
                .code,
            0);
}

TEST_F(CommandLine, GroupsAndAveragedWeightsRepeatAndResume) {
  const std::string more =
      "--set train.ema=0.9 --set "
      "'optimizer.groups={\"*.bias\"={weight_decay=0.1},\"encoders.left.*\"={lr_scale=0.1}}'";
  const Outcome whole = train(more);
  ASSERT_EQ(whole.code, 0) << whole.output;
  const std::string run = (folder_ / "run").string();
  const std::string resolved = read_text(run + "/recipe.toml");
  EXPECT_LT(resolved.find("[optimizer.groups.\"*.bias\"]"),
            resolved.find("[optimizer.groups.\"encoders.left.*\"]"));
  ASSERT_EQ(unbraid_program(
                fmt::format("train {}/recipe.toml --out {}", run, (folder_ / "again").string()))
                .code,
            0);
  EXPECT_EQ(read_text(folder_ / "again/recipe.toml"), resolved);
  for (const char* file : {"model", "trained", "optimizer"}) {
    EXPECT_EQ(read_text(fmt::format("{}/checkpoints/last/{}.safetensors", run, file)),
              read_text(folder_ / "again/checkpoints/last" / fmt::format("{}.safetensors", file)));
  }
  EXPECT_NE(read_text(run + "/checkpoints/last/model.safetensors"),
            read_text(run + "/checkpoints/last/trained.safetensors"));
  const json summary = json::parse(read_text(run + "/summary.json"));
  const Outcome eval = unbraid_program("eval " + run);  // of the average, as the summary
  EXPECT_NE(eval.output.find(fmt::format("{:.4f}", summary["loss"].get<double>())),
            std::string::npos)
      << eval.output;
}

TEST_F(CommandLine, DivergenceIsSix) {
  const Outcome outcome = train("--set optimizer.lr=1e30");
  EXPECT_EQ(outcome.code, 6) << outcome.output;
  EXPECT_NE(outcome.output.find("training diverged in epoch"), std::string::npos) << outcome.output;
}

TEST_F(CommandLine, SignalsStopAfterSavingAndResumeContinues) {
  for (const int signal : {SIGINT, SIGTERM}) {
    const std::string out = (folder_ / ("signal" + std::to_string(signal))).string();
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      const std::string log = out + ".log";
      freopen(log.c_str(), "w", stdout);
      freopen(log.c_str(), "w", stderr);
      execl(UNBRAID_PROGRAM, "unbraid", "train", recipe().c_str(), "--out", out.c_str(), "--set",
            "train.epochs=100000", nullptr);
      _exit(99);
    }
    const auto state = std::filesystem::path(out) / "checkpoints/best/state.json";
    for (int i = 0; i < 600 && !std::filesystem::exists(state); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    ASSERT_TRUE(std::filesystem::exists(state)) << read_text(out + ".log");
    kill(child, signal);
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), signal == SIGINT ? 130 : 143) << read_text(out + ".log");
    EXPECT_EQ(unbraid_program("eval " + out).code, 0);
  }
}

TEST_F(CommandLine, DoctorSaysWhatThereIs) {
  const Outcome outcome = unbraid_program("doctor");
  EXPECT_EQ(outcome.code, 0);
  for (const char* word : {"LibTorch", "BLAS", "hreads", "llocator", "emory"}) {
    EXPECT_NE(outcome.output.find(word), std::string::npos) << word << "\n" << outcome.output;
  }
}

}  // namespace
}  // namespace unbraid
