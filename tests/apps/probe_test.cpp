// `unbraid probe` as a user runs it.
#include <cmath>
#include <filesystem>

#include <nlohmann/json.hpp>

#include "apps/command_line.h"

namespace unbraid {
namespace {

using nlohmann::json;
using testing::Outcome;
using testing::read_text;
using testing::unbraid_program;
using testing::write_text;

class ProbeCommand : public testing::CommandLine {
 protected:
  [[nodiscard]] std::string path(const std::string& name) const {
    return (folder_ / name).string();
  }
  [[nodiscard]] Outcome probe(const std::string& arguments) const {
    return unbraid_program("probe " + arguments);
  }
  /// What `--json` writes.
  [[nodiscard]] json probed(const std::string& arguments) const {
    const Outcome outcome = probe(arguments + " --json " + path("probe.json"));
    EXPECT_EQ(outcome.code, 0) << outcome.output;
    return json::parse(read_text(folder_ / "probe.json"));
  }
  void replace(const std::string& what, const std::string& by) const {
    std::string text = read_text(recipe());
    ASSERT_NE(text.find(what), std::string::npos);
    text.replace(text.find(what), what.size(), by);
    write_text(recipe(), text);
  }
};

void expect_contains(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << "expected " << part << " in\n" << text;
}

TEST_F(ProbeCommand, TellsARunsStory) {
  ASSERT_EQ(train("--set probe.gradients=true --set probe.batches=2 --set train.epochs=12").code,
            0);
  const Outcome outcome = probe(path("run"));
  ASSERT_EQ(outcome.code, 0) << outcome.output;
  for (const char* part :
       {"run: dgl, checkpoint best, epoch ",
        "Gradient of the multimodal loss over that of the unimodal loss (2 batches of train)",
        "closed form", "By epoch, as the run measured it", "\n   12 left",
        "Parameters that never receive a gradient: 0 of 6",
        "Linear probes of the frozen encoders, accuracy on val",
        "Shapley contributions to accuracy on val", "\nwithout any modality", "\n+ left",
        "\n= with all"}) {
    expect_contains(outcome.output, part);
  }
  const json found = probed(path("run") + " --checkpoint last --split test");
  EXPECT_EQ(found["unbraid_probe"], 1);
  EXPECT_EQ(found["epoch"], 12);
  EXPECT_EQ(found["checkpoint"], "last");
  EXPECT_EQ(found["history"].size(), 12);
  // The last epoch's line is of the weights of the last checkpoint, on the same batches.
  EXPECT_EQ(found["history"][11]["modalities"], found["gradients"]["modalities"]);
  const json& shapley = found["shapley"];
  EXPECT_NEAR(
      shapley["modalities"]["left"].get<double>() + shapley["modalities"]["right"].get<double>(),
      shapley["all"].get<double>() - shapley["empty"].get<double>(), 1e-9);
  EXPECT_NEAR(shapley["empty"], 1.0 / 3, 1e-9);
  EXPECT_EQ(shapley["subsets"].size(), 4);
  const json& linear = found["linear_probe"]["modalities"]["left"];
  EXPECT_EQ(linear["value"], 1.0);  // the table is easy
  EXPECT_EQ(linear["samples"], 12);
  EXPECT_TRUE(linear["alone"].is_number());
}

TEST_F(ProbeCommand, LeavesARunAsItWas) {
  ASSERT_EQ(train("").code, 0);
  const auto content = [&] {
    std::string all;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_ / "run")) {
      all += entry.path().string() + "\n";
      if (entry.is_regular_file()) {
        all += read_text(entry.path());
      }
    }
    return all;
  };
  const std::string before = content();
  const Outcome outcome = probe(path("run"));
  ASSERT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_EQ(content(), before);
  EXPECT_EQ(outcome.output.find("By epoch"), std::string::npos);  // it was not probed
  EXPECT_EQ(probe(path("run")).output, outcome.output);
}

TEST_F(ProbeCommand, TakesACheckpoint) {
  ASSERT_EQ(train("").code, 0);
  EXPECT_EQ(probed(path("run/checkpoints/last"))["epoch"], 3);
  EXPECT_EQ(probed(path("run/checkpoints/last/"))["checkpoint"], "last");
  expect_error(probe(path("run/checkpoints/last") + " --checkpoint best"), 2,
               "--checkpoint best: expected none beside the folder of a checkpoint");
  expect_error(probe(path("run/checkpoints")), 2, "found a folder that is neither");
  std::filesystem::remove_all(folder_ / "run/checkpoints/best");
  expect_error(probe(path("run")), 5, "checkpoints/best: expected a checkpoint of this run");
}

TEST_F(ProbeCommand, TrainsARecipe) {
  const json found = probed(recipe().string() + " --out " + path("new") +
                            " --set train.epochs=2 --set 'method={type=\"joint\"}'");
  EXPECT_EQ(found["method"], "joint");
  EXPECT_EQ(found["history"].size(), 2);
  EXPECT_EQ(found["run"], path("new"));
  EXPECT_TRUE(std::filesystem::exists(folder_ / "new/summary.json"));
  expect_contains(read_text(folder_ / "new/recipe.toml"), "[probe]\ngradients = true\nbatches = 4");
  expect_error(probe(recipe().string() + " --out " + path("new")), 2, "already holds a run");
  const Outcome resumed = unbraid_program("train " + path("new/recipe.toml") + " --resume");
  EXPECT_EQ(resumed.code, 0) << resumed.output;
}

TEST_F(ProbeCommand, NamesParametersThatGetNoGradient) {
  replace("type = \"concat\"", "type = \"gated\"\nreleased = true");
  ASSERT_EQ(train("--set 'train.freeze=[\"encoders.left.*.bias\"]'").code, 0);
  const json found = probed(path("run"));
  EXPECT_EQ(found["parameters"]["unreached"],
            json({"fusion.fc_left.weight", "fusion.fc_left.bias", "fusion.fc_right.weight",
                  "fusion.fc_right.bias"}));
  EXPECT_EQ(found["parameters"]["frozen"].size(), 1);
  EXPECT_EQ(found["parameters"]["all"], 10);
  // Cut inside the fusion, the multimodal loss reaches no feature at all.
  EXPECT_EQ(found["gradients"]["modalities"]["left"]["feature_ratio"], 0.0);
  EXPECT_TRUE(found["gradients"]["modalities"]["left"]["feature_cosine"].is_null());
  EXPECT_FALSE(found["gradients"]["modalities"]["left"].contains("closed_form_ratio"));
  const Outcome outcome = probe(path("run"));
  expect_contains(outcome.output, "  fusion.fc_right.bias: no loss reaches it\n");
  expect_contains(outcome.output, "  encoders.left.");
  expect_contains(outcome.output, ": frozen\n");
}

TEST_F(ProbeCommand, OtherTasksHaveNoLinearProbes) {
  replace("type = \"classification\"\nclasses = 3", "type = \"regression\"");
  ASSERT_EQ(train("--set optimizer.lr=0.01").code, 0);
  const json found = probed(path("run"));
  EXPECT_TRUE(found["linear_probe"].is_null());
  EXPECT_EQ(found["shapley"]["metric"], "mae");
  EXPECT_EQ(found["shapley"]["smaller_is_better"], true);
  // The mean of the labels 0, 1 and 2 is off by 2/3 on average.
  EXPECT_NEAR(found["shapley"]["empty"], 2.0 / 3, 1e-4);
  const Outcome outcome = probe(path("run"));
  expect_contains(outcome.output, "Linear probes are for classification");
  expect_contains(outcome.output, "an error: below 0 is good");
}

TEST_F(ProbeCommand, MissingModalitiesAndOneModalityAreProbedToo) {
  std::string manifest = read_text(folder_ / "manifest.csv");
  for (const char* row : {"s0,train,0,0,0", "s37,val,1,37,37", "s40,val,1,40,40"}) {
    const std::string text = row;
    manifest.replace(manifest.find(text), text.size(), text.substr(0, text.rfind(',') + 1));
  }
  write_text(folder_ / "manifest.csv", manifest);
  ASSERT_EQ(train("").code, 0);
  const json found = probed(path("run"));
  EXPECT_EQ(found["linear_probe"]["modalities"]["right"]["samples"], 10);
  EXPECT_EQ(found["gradients"]["modalities"]["right"]["samples"], 35);
  EXPECT_EQ(found["gradients"]["modalities"]["left"]["samples"], 36);
  ASSERT_EQ(train("--set 'method={type=\"unimodal\",modality=\"left\"}'", "alone").code, 0);
  const json alone = probed(path("alone"));
  EXPECT_EQ(alone["gradients"]["modalities"]["left"]["feature_ratio"], 1.0);
  EXPECT_EQ(alone["gradients"]["modalities"].size(), 1);
}

TEST_F(ProbeCommand, NamesModalitiesInTheOrderOfTheRecipe) {
  replace("[modalities.left]", "[modalities.right2]");
  replace("[modalities.right]", "[modalities.left]");
  replace("[modalities.right2]", "[modalities.right]");
  ASSERT_EQ(train("--set train.epochs=1").code, 0);
  const std::string output = probe(path("run")).output;
  EXPECT_LT(output.find("+ right"), output.find("+ left")) << output;
  EXPECT_LT(output.find("\nright "), output.find("\nleft ")) << output;
}

TEST_F(ProbeCommand, SaysThatTheDataHasChanged) {
  ASSERT_EQ(train("--set train.epochs=1").code, 0);
  const std::string run = (folder_ / "run").string();
  const std::string says =
      "warning: " + (folder_ / "manifest.csv").string() + ": the data has changed since the run";
  for (const std::string command : {"probe ", "eval "}) {
    EXPECT_EQ(unbraid_program(command + run).output.find("warning"), std::string::npos);
  }
  testing::write_npy(folder_ / "table.npy", {60, 4}, std::vector<float>(240, 0.5F));
  for (const std::string command : {"probe ", "eval "}) {
    const Outcome outcome = unbraid_program(command + run);
    EXPECT_EQ(outcome.code, 0) << outcome.output;
    EXPECT_NE(outcome.output.find(says), std::string::npos) << outcome.output;
  }
}

TEST_F(ProbeCommand, RefusesDamagedProbes) {
  ASSERT_EQ(train("--set train.epochs=2 --set probe.gradients=true").code, 0);
  write_text(folder_ / "run/probes.jsonl", read_text(folder_ / "run/probes.jsonl") + "{\"epo\n");
  expect_error(probe(path("run")), 5, "probes.jsonl:3: expected a JSON object");
}

TEST_F(ProbeCommand, BadArgumentsAreOneLine) {
  ASSERT_EQ(train("--set train.epochs=1").code, 0);
  expect_error(probe(path("nothing.toml")), 3, "nothing.toml");
  expect_error(probe(path("run") + " --set seed=1"), 2, "--set and --out are for recipes");
  expect_error(probe(path("run") + " --out " + path("x")), 2, "--set and --out are for recipes");
  expect_error(probe(path("run") + " --checkpoint first"), 2, "--checkpoint");
  expect_error(probe(path("run") + " --batches 0"), 2, "--batches");
  expect_error(probe(path("run") + " --json " + recipe().string()), 2,
               "is there already and is not a file of probes");
  expect_error(probe(recipe().string() + " --split tset --out " + path("y")), 2, "tset");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "y"));
  expect_error(train("--set probe.batches=0", "z"), 3, "probe.batches: expected");
  expect_error(train("--set probe.gradient=true", "z"), 3, "probe.gradient");
}

}  // namespace
}  // namespace unbraid
