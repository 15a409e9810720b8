#include <signal.h>

#include <chrono>
#include <thread>

#include <nlohmann/json.hpp>

#include "apps/command_line.h"
#include "unbraid/core/durable_file.h"

namespace unbraid::testing {
namespace {

using nlohmann::json;

class Compare : public CommandLine {
 protected:
  [[nodiscard]] Outcome compare(const std::string& more) const {
    return unbraid_program(
        fmt::format("compare {} --out {} {}", recipe().string(), (folder_ / "out").string(), more));
  }
  [[nodiscard]] json summary(const std::string& run) const {
    return json::parse(read_text(folder_ / "out" / run / "summary.json"));
  }
};

TEST_F(Compare, TrainsEveryMethodAndEachModalityAlone) {
  const Outcome outcome = compare("--methods joint,dgl,ogm-ge,g-blending --seeds 2 --jobs 2");
  ASSERT_EQ(outcome.code, 0) << outcome.output;
  for (const char* run : {"alone-left-seed0", "alone-right-seed1", "joint-seed0", "dgl-seed1",
                          "ogm-ge-seed0", "g-blending-seed1"}) {
    EXPECT_TRUE(std::filesystem::exists(folder_ / "out" / run / "summary.json")) << run;
  }
  EXPECT_NE(outcome.output.find("minus joint"), std::string::npos) << outcome.output;
  EXPECT_NE(outcome.output.find("gap of left"), std::string::npos) << outcome.output;
  for (const char* file :
       {"comparison.txt", "comparison.csv", "comparison.md", "comparison.tex", "runs.csv"}) {
    EXPECT_GT(read_text(folder_ / "out" / file).size(), 100) << file;
  }
  // The same run as by hand, and what it ran on.
  const json run = summary("dgl-seed1");
  ASSERT_EQ(train("--set seed=1", "by_hand").code, 0);
  const json by_hand = json::parse(read_text(folder_ / "by_hand/summary.json"));
  EXPECT_EQ(run["best_val"], by_hand["best_val"]);
  EXPECT_EQ(run["accuracy"], by_hand["accuracy"]);
  EXPECT_EQ(run["data_hash"], by_hand["data_hash"]);
  EXPECT_EQ(run["data_hash"].get<std::string>().size(), 16);
  EXPECT_EQ(run["best_is"], "largest");
  EXPECT_TRUE(run["machine"].contains("processor"));
  EXPECT_TRUE(run["versions"].contains("unbraid"));
  // What is finished is not done again.
  const auto written = std::filesystem::last_write_time(folder_ / "out/joint-seed0/summary.json");
  const Outcome again = compare("--methods joint,dgl,ogm-ge,g-blending --seeds 2");
  EXPECT_EQ(again.code, 0) << again.output;
  EXPECT_NE(again.output.find("12 of 12 runs are finished already"), std::string::npos)
      << again.output;
  EXPECT_EQ(written, std::filesystem::last_write_time(folder_ / "out/joint-seed0/summary.json"));
}

TEST_F(Compare, TeachesUmtByTheModalitiesAlone) {
  const Outcome outcome = compare(
      "--methods umt,joint --seeds 2 --jobs 2 --set train.epochs=2 --tune optimizer.lr=0.1,0.2");
  ASSERT_EQ(outcome.code, 0) << outcome.output;
  const std::string recipe = read_text(folder_ / "out/umt-seed1/recipe.toml");
  EXPECT_NE(recipe.find((folder_ / "out/alone-left-seed1").string()), std::string::npos) << recipe;
  EXPECT_NE(recipe.find((folder_ / "out/alone-right-seed1").string()), std::string::npos);
  const std::string trial = read_text(folder_ / "out/tuning/umt-optimizer.lr=0.1/recipe.toml");
  EXPECT_NE(trial.find((folder_ / "out/tuning/alone-left-optimizer.lr=").string()),
            std::string::npos)
      << trial;
}

TEST_F(Compare, AFusionThatDoesNotFitIsFoundBeforeAnythingIsTrained) {
  expect_error(compare("--methods joint --seeds 1 --set fusion.type=mmtm"), 3, "fusion");
  std::string text = read_text(recipe());
  text +=
      "[modalities.third]\nkind = \"array\"\ntable = \"table.npy\"\n"
      "encoder = { type = \"mlp\", layers = [4, 8] }\n";
  write_text(recipe(), text);
  std::string manifest = read_text(folder_ / "manifest.csv");
  manifest.insert(manifest.find('\n'), ",third");
  for (size_t at = manifest.find('\n') + 1; at < manifest.size(); at += 3) {
    at = manifest.find('\n', at);
    manifest.insert(at, ",1");
  }
  write_text(folder_ / "manifest.csv", manifest);
  expect_error(compare("--methods joint --seeds 1 --set fusion.type=film"), 3,
               "at most two modalities");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out"));
}

TEST_F(Compare, KeepsARunWhoseRecipeIsLost) {
  ASSERT_EQ(compare("--methods joint --seeds 1 --set train.epochs=1").code, 0);
  std::filesystem::remove(folder_ / "out/joint-seed0/recipe.toml");
  const std::string summary = read_text(folder_ / "out/joint-seed0/summary.json");
  const Outcome outcome = compare("--methods joint --seeds 1 --set train.epochs=1");
  EXPECT_EQ(outcome.code, 5) << outcome.output;
  EXPECT_NE(outcome.output.find("joint-seed0/recipe.toml: expected the recipe of the run whose "
                                "checkpoints are here"),
            std::string::npos)
      << outcome.output;
  EXPECT_EQ(read_text(folder_ / "out/joint-seed0/summary.json"), summary);
}

TEST_F(Compare, RefusesASummaryOfAnotherRun) {
  const std::string arguments = "--methods joint,dgl --seeds 1 --set train.epochs=1";
  ASSERT_EQ(compare(arguments).code, 0);
  std::filesystem::copy_file(folder_ / "out/joint-seed0/summary.json",
                             folder_ / "out/dgl-seed0/summary.json",
                             std::filesystem::copy_options::overwrite_existing);
  expect_error(compare(arguments), 5,
               "dgl-seed0/summary.json: expected the hash of the recipe.toml beside it");
}

TEST_F(Compare, HoldsItsFolder) {
  std::filesystem::create_directories(folder_ / "out");
  const FileDescriptor held = lock_folder(folder_ / "out", "tests");
  expect_error(compare("--methods joint --seeds 1"), 5,
               "out: another process is comparing in this folder");
}

TEST_F(Compare, WhatCannotContinueIsSaidBeforeItIsTuned) {
  ASSERT_EQ(compare("--methods joint --seeds 1 --set train.epochs=1").code, 0);
  expect_error(
      compare("--methods joint --seeds 1 --set train.epochs=1 --tune optimizer.lr=0.3,0.4"), 3,
      "alone-left-seed0: was compared with other settings (optimizer.lr = 0.1, not 0.4)");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out/tuning"));
}

TEST_F(Compare, RefusesAFolderThatIsNone) {
  ASSERT_EQ(train("--set train.epochs=1", "out").code, 0);
  expect_error(compare("--methods joint --seeds 1"), 2, "out: is the folder of a run");
  std::filesystem::remove_all(folder_ / "out");
  write_text(folder_ / "out", "mine");
  expect_error(compare("--methods joint --seeds 1"), 5, "out: cannot create the folder");
}

TEST_F(Compare, ContinuesInAFolderThatWasMoved) {
  ASSERT_EQ(compare("--methods joint --seeds 1").code, 0);
  std::filesystem::rename(folder_ / "out", folder_ / "moved");
  const Outcome outcome =
      unbraid_program(fmt::format("compare {} --out {} --methods joint --seeds 2",
                                  recipe().string(), (folder_ / "moved").string()));
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_NE(outcome.output.find("3 of 6 runs are finished already"), std::string::npos)
      << outcome.output;
  // What umt was taught by is in the old place, which is of no matter to what is finished.
  const auto umt = [&](const std::string& out) {
    return unbraid_program(
        fmt::format("compare {} --out {} --methods umt --seeds 1 --set train.epochs=1",
                    recipe().string(), (folder_ / out).string()));
  };
  ASSERT_EQ(umt("taught").code, 0);
  std::filesystem::rename(folder_ / "taught", folder_ / "again");
  EXPECT_EQ(umt("again").code, 0);
}

TEST_F(Compare, ContinuesWhereItsDataWasMoved) {
  ASSERT_EQ(compare("--methods joint --seeds 1").code, 0);
  std::filesystem::create_directories(folder_ / "moved");
  for (const char* name : {"recipe.toml", "manifest.csv", "table.npy"}) {
    std::filesystem::rename(folder_ / name, folder_ / "moved" / name);
  }
  const auto continued = [&] {
    return unbraid_program(fmt::format("compare {} --out {} --methods joint --seeds 2",
                                       (folder_ / "moved/recipe.toml").string(),
                                       (folder_ / "out").string()));
  };
  const Outcome outcome = continued();
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_NE(outcome.output.find("3 of 6 runs are finished already"), std::string::npos)
      << outcome.output;
  write_npy(folder_ / "moved/table.npy", {60, 4}, std::vector<float>(240, 0.5F));
  EXPECT_EQ(continued().code, 4);
}

TEST_F(Compare, NamesMethodsThatDidNothingOfTheirOwn) {
  const Outcome outcome = compare("--methods joint,dgl,relearning --seeds 2");
  ASSERT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_NE(outcome.output.find("\nrelearning has the scores and losses of joint to the last "
                                "digit: in these epochs it did nothing of its own.\n"),
            std::string::npos)
      << outcome.output;
}

TEST_F(Compare, RefusesToContinueRunsOnOtherData) {
  ASSERT_EQ(compare("--methods joint --seeds 1").code, 0);
  // As if it had been killed before it was summed up.
  std::filesystem::remove(folder_ / "out/alone-left-seed0/summary.json");
  EXPECT_EQ(compare("--methods joint --seeds 1").code, 0);
  std::filesystem::remove(folder_ / "out/alone-left-seed0/summary.json");
  write_npy(folder_ / "table.npy", {60, 4}, std::vector<float>(240, 0.5F));
  expect_error(compare("--methods joint --seeds 1"), 4,
               "alone-left-seed0: was trained on other data than");
}

TEST_F(Compare, RefusesRunsOnOtherData) {
  ASSERT_EQ(compare("--methods joint --seeds 1").code, 0);
  std::string manifest = read_text(folder_ / "manifest.csv");
  manifest.replace(manifest.find("s1,train,1"), 10, "s1,train,2");
  write_text(folder_ / "manifest.csv", manifest);
  const Outcome other = compare("--methods joint,dgl --seeds 1 --jobs 1");
  EXPECT_EQ(other.code, 4) << other.output;
  EXPECT_NE(other.output.find("alone-left-seed0: was trained on other data than"),
            std::string::npos)
      << other.output;
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out/dgl-seed0"));  // before anything is trained
}

TEST_F(Compare, RefusesRunsOnOtherFiles) {
  ASSERT_EQ(compare("--methods joint --seeds 1").code, 0);
  std::vector<float> values(240, 0.5F);
  values[120] = 1;
  write_npy(folder_ / "table.npy", {60, 4}, values);
  const Outcome other = compare("--methods joint,dgl --seeds 1 --jobs 1");
  EXPECT_EQ(other.code, 4) << other.output;
  EXPECT_NE(other.output.find("manifest.csv is now, the files of left/test (hash "),
            std::string::npos)
      << other.output;
}

TEST_F(Compare, TestsAgainOnceTheDataIsMended) {
  read_left_from_files();
  std::string manifest = "id,split,label,left,right\n";
  for (int row = 0; row < 12; ++row) {
    write_npy(folder_ / fmt::format("{}.npy", row), {1, 4}, {1.0F * (row % 3), 0, 1, 0});
    manifest += fmt::format("s{0},{1},{2},{0}.npy,{0}\n", row,
                            row < 6   ? "train"
                            : row < 9 ? "val"
                                      : "test",
                            row % 3);
  }
  write_text(folder_ / "manifest.csv", manifest);
  const std::string good = read_text(folder_ / "11.npy");
  write_text(folder_ / "11.npy", good.substr(0, good.size() - 4));
  const std::string arguments =
      "--methods joint,dgl --seeds 2 --set train.epochs=1 --set data.batch_size=6";
  const Outcome damaged = compare(arguments);
  EXPECT_EQ(damaged.code, 4) << damaged.output;
  write_text(folder_ / "11.npy", good);
  for (int i = 0; i < 2; ++i) {
    const Outcome mended = compare(arguments);
    EXPECT_EQ(mended.code, 0) << mended.output;
  }
  EXPECT_EQ(
      compare("--methods joint,dgl --seeds 3 --set train.epochs=1 --set data.batch_size=6").code,
      0);
}

TEST_F(Compare, WhatWasTunedByStaysWhereSettingsDiffer) {
  const std::string arguments = "--methods joint --seeds 1 --set train.epochs=1 --tune ";
  ASSERT_EQ(compare(arguments + "optimizer.lr=0.1,0.2").code, 0);
  const std::string tuning = read_text(folder_ / "out/tuning.txt");
  const Outcome other = compare(arguments + "optimizer.lr=0.3,0.4");
  EXPECT_EQ(other.code, 3) << other.output;
  EXPECT_NE(other.output.find("was compared with other settings (optimizer.lr = 0."),
            std::string::npos)
      << other.output;
  EXPECT_EQ(read_text(folder_ / "out/tuning.txt"), tuning);
}

TEST_F(Compare, SaysWhatWasNotTested) {
  read_left_from_files();
  write_npy(folder_ / "good.npy", {1, 4}, {1, 0, 0, 0});
  write_text(folder_ / "manifest.csv",
             "id,split,label,left,right\na,train,0,good.npy,1\nb,train,1,good.npy,2\n"
             "c,val,0,good.npy,1\nd,test,0,missing.npy,1\n");
  const Outcome outcome = compare(
      "--methods joint --seeds 1 --set train.epochs=1 --set data.batch_size=2 "
      "--set data.on_error=skip --set data.max_skipped=1");
  EXPECT_EQ(outcome.code, 4) << outcome.output;
  EXPECT_NE(outcome.output.find("not tested: none can be read"), std::string::npos)
      << outcome.output;
}

TEST_F(Compare, EndsEarlyWhereEveryRunIsRefused) {
  write_text(folder_ / "table.npy", "damaged");
  const Outcome outcome = compare("--methods joint,dgl,ogm --seeds 5 --jobs 1");
  EXPECT_NE(outcome.code, 0);
  EXPECT_EQ(outcome.output.find("unbraid: unbraid:"), std::string::npos) << outcome.output;
  write_npy(folder_ / "table.npy", {60, 4}, std::vector<float>(240, 0.5F));
  const Outcome refused = compare(
      "--methods joint,dgl,ogm --seeds 5 --jobs 1 --set data.batch_size=100 "
      "--set data.drop_last=true");
  EXPECT_EQ(refused.code, 3) << refused.output;
  EXPECT_NE(refused.output.find("(2 runs failed, 23 were not begun;"), std::string::npos)
      << refused.output;
}

TEST_F(Compare, KeepsTablesThatAreNotItsOwn) {
  std::filesystem::create_directories(folder_ / "out");
  write_text(folder_ / "out/comparison.txt", "mine");
  expect_error(compare("--methods joint --seeds 1"), 2,
               "out: holds a comparison.txt that belongs to no comparison");
  EXPECT_EQ(read_text(folder_ / "out/comparison.txt"), "mine");
}

TEST_F(Compare, TunesOnValWithoutLookingAtTest) {
  const Outcome outcome =
      compare("--methods joint --seeds 1 --set train.epochs=2 --tune optimizer.lr=1e-9,0.3");
  ASSERT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_NE(outcome.output.find("joint:  optimizer.lr=1e-9 "), std::string::npos) << outcome.output;
  EXPECT_NE(outcome.output.find("-> optimizer.lr=0.3"), std::string::npos) << outcome.output;
  const json trial = summary("tuning/joint-optimizer.lr=0.3");
  EXPECT_FALSE(trial.contains("accuracy"));
  EXPECT_TRUE(trial.contains("best_val"));
  EXPECT_EQ(read_text(folder_ / "out/tuning/joint-optimizer.lr=0.3/metrics.jsonl").find("\"test\""),
            std::string::npos);
  EXPECT_NE(read_text(folder_ / "out/joint-seed0/recipe.toml").find("lr = 0.3"), std::string::npos);
}

TEST_F(Compare, AFailedRunIsReportedAndTriedAgain) {
  std::filesystem::create_directories(folder_ / "out");
  write_text(folder_ / "out/dgl-seed0", "in the way");
  const Outcome outcome = compare("--methods joint,dgl --seeds 1");
  EXPECT_EQ(outcome.code, 5) << outcome.output;
  EXPECT_NE(outcome.output.find("unbraid: dgl, seed 0: "), std::string::npos) << outcome.output;
  EXPECT_NE(outcome.output.find("(this run failed; the same command"), std::string::npos)
      << outcome.output;
  EXPECT_NE(outcome.output.find("left alone"), std::string::npos) << outcome.output;
  std::filesystem::remove(folder_ / "out/dgl-seed0");
  EXPECT_EQ(compare("--methods joint,dgl --seeds 1").code, 0);
}

TEST_F(Compare, StopsItsRunsAndContinues) {
  const std::string arguments = "--methods joint --seeds 1 --jobs 1 --set train.epochs=4000";
  const std::string metrics = (folder_ / "out/alone-left-seed0/metrics.jsonl").string();
  // Stopped once it has finished an epoch: a line for train and one for val.
  const std::string command = fmt::format(
      "{} compare {} --out {} {} & comparing=$!; "
      "while kill -0 $comparing && [ \"$(cat {} 2>&1 | wc -l)\" -lt 2 ]; do sleep 0.05; done; "
      "kill -TERM $comparing; wait $comparing",
      UNBRAID_PROGRAM, recipe().string(), (folder_ / "out").string(), arguments, metrics);
  const int status =
      std::system(fmt::format("( {} ) >{} 2>&1", command, (folder_ / "log").string()).c_str());
  EXPECT_EQ(WEXITSTATUS(status), 143) << read_text(folder_ / "log");
  // Nobody trains there any more: the lock is free.
  const Outcome after = unbraid_program(
      fmt::format("eval {} --split val", (folder_ / "out/alone-left-seed0").string()));
  EXPECT_EQ(after.code, 0) << after.output;
}

TEST_F(Compare, BadInputIsOneLineBeforeAnythingRuns) {
  expect_error(compare("--methods joint,gdl"), 2, "--methods: expected one of unimodal, joint,");
  expect_error(compare("--methods joint,"), 2, "--methods: expected names");
  expect_error(compare("--methods unimodal"), 2, "each modality alone is trained anyway");
  expect_error(compare("--methods route"), 2, "route has no defaults");
  expect_error(compare("--methods joint,joint"), 2, "joint twice");
  expect_error(compare("--tune optimizer.lr"), 2, "KEY=a,b");
  expect_error(compare("--tune optimizer.lr=1"), 2, "two values");
  expect_error(compare("--tune optimizer.lrr=1,2"), 3,
               "--tune, left alone, optimizer.lrr=1: optimizer.lrr");
  expect_error(compare("--tune method.alpha=1,2"), 3, "--tune, left alone, method.alpha=1: ");
  expect_error(compare("--tune method.type=joint,dgl"), 2, "what --methods names");
  expect_error(compare("--tune seed=0,1"), 2, "compared on");
  expect_error(compare("--tune data.train=80,100"), 2, "compared on");
  expect_error(compare("--tune optimizer.lr=0.1,0.1"), 2, "each value once");
  expect_error(compare("--tune optimizer.lr=0.1,0.2 --tune optimizer.lr=1,2"), 2, "each key");
  expect_error(compare("--set seed=7"), 2, "--seeds");
  expect_error(compare("--seeds 0"), 2, "--seeds");
  std::string manifest = read_text(folder_ / "manifest.csv");
  for (size_t at = 0; (at = manifest.find(",test,")) != std::string::npos;) {
    manifest.replace(at, 6, ",val,");
  }
  write_text(folder_ / "manifest.csv", manifest);
  expect_error(compare("--seeds 1"), 4, "manifest.csv: expected rows of the split test");
  expect_error(unbraid_program("compare nothing.toml --out " + (folder_ / "x").string()), 3,
               "nothing.toml");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out"));
}

}  // namespace
}  // namespace unbraid::testing
