#include "unbraid/analysis/report.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "temporary_folder.h"
#include "unbraid/core/error.h"

namespace unbraid {
namespace {

using nlohmann::json;
using testing::TemporaryFolder;
using testing::write_text;

std::string recipe_of(const std::string& method, int seed) {
  return fmt::format(
      "seed = {}\n[data]\nsource = \"avdigits\"\nworkers = {}\n"
      "[task]\ntype = \"classification\"\nclasses = [\"cat\", \"<b>&dog\"]\n"
      "[method]\n{}\n[train]\nepochs = 2\n",
      seed, seed, method);
}

class Report : public ::testing::Test {
 protected:
  /// A run of two epochs that reaches `fused` and, in audio, `audio` on test.
  void write_run(const std::string& name, const std::string& method, int seed, double fused,
                 double audio) const {
    const std::filesystem::path run = folder_ / name;
    std::filesystem::create_directories(run);
    write_text(run / "recipe.toml", recipe_of(method, seed));
    std::string lines;
    for (int epoch = 1; epoch <= 2; ++epoch) {
      lines += fmt::format(
          R"({{"epoch":{0},"split":"train","loss":{1},"seconds":2,"gradient_norm":{{"encoders.audio":0.25,"fusion":1}}}}
{{"epoch":{0},"split":"val","loss":1,"accuracy":{2},"accuracy_alone":{{"audio":{3}}},"loss_alone":{{"audio":null}}}}
)",
          epoch, 1.0 / epoch, fused / 2 * epoch, audio);
    }
    lines += json({{"epoch", 2}, {"split", "test"}, {"accuracy", fused}}).dump() + "\n";
    write_text(run / "metrics.jsonl", lines);
    const json summary{
        {"seed", seed},
        {"best_by", "accuracy"},
        {"best_is", "largest"},
        {"best_val", fused},
        {"best_epoch", 2},
        {"peak_rss_mb", 100},
        {"data_hash", "abc"},
        {"accuracy", fused},
        {"accuracy_alone", {{"audio", audio}}},
        {"machine", {{"cores", 2}}},
        {"confusion", {{"fused", {{3, 1}, {0, 4}}}, {"alone", {{"audio", {{2, 2}, {1, 3}}}}}}}};
    write_text(run / "summary.json", summary.dump());
  }

  void write_comparison() const {
    for (int seed = 0; seed < 2; ++seed) {
      const double shift = 0.01 * seed;
      write_run(fmt::format("alone-audio-seed{}", seed),
                "type = \"unimodal\"\nmodality = \"audio\"", seed, 0.8 + 2 * shift,
                0.8 + 2 * shift);
      write_run(fmt::format("joint-seed{}", seed), "type = \"joint\"", seed, 0.7 + shift,
                0.6 + shift);
      write_run(fmt::format("dgl-seed{}", seed), "type = \"dgl\"\nalpha = 4.0", seed,
                0.9 + 2 * shift, 0.75 + 2 * shift);
    }
  }

  [[nodiscard]] json data() const { return report_data(select_runs({folder_.path()})); }

  static std::string error_of(const std::function<void()>& run) {
    try {
      run();
    } catch (const Error& error) {
      return error.what();
    }
    return "nothing was thrown";
  }

  TemporaryFolder folder_;
};

TEST_F(Report, HoldsTheComparison) {
  write_comparison();
  const json report = data();
  ASSERT_EQ(report["methods"].size(), 3);
  const json& alone = report["methods"][0];
  EXPECT_EQ(alone["label"], "audio alone");
  EXPECT_EQ(alone["trained_alone"], "audio");
  EXPECT_TRUE(alone["fused"].is_null());
  const json& joint = report["methods"][1];
  EXPECT_EQ(joint["label"], "joint");
  EXPECT_EQ(joint["seeds"], json({0, 1}));
  // 12.706 x 0.005, the interval of 0.7 and 0.71.
  EXPECT_EQ(joint["fused"], json({0.705, 0.063531, 2}));
  EXPECT_EQ(joint["gap"]["audio"][0], 0.205);
  const json& dgl = report["methods"][2];
  EXPECT_EQ(dgl["difference"][0], 0.205);
  EXPECT_EQ(dgl["recovered"]["audio"], json({0.155, 0.063531, 2}));
  EXPECT_EQ(dgl["seconds"][0], 4);
  EXPECT_EQ(dgl["memory"], json({100, 0, 2}));
  EXPECT_EQ(report["verdict"][0]["kind"], "loss");
  EXPECT_EQ(report["classes"], json({"cat", "<b>&dog"}));
  EXPECT_EQ(report["data"], json({{"name", "avdigits"}, {"hash", "abc"}}));
  EXPECT_EQ(report["machines"][0]["runs"], 6);
  EXPECT_EQ(report["runs"].size(), 6);
  EXPECT_TRUE(report["missing"].empty());
  // The method alone is what differs, seeds and workers aside.
  std::vector<std::string> keys;
  for (const json& row : report["differing"]) {
    keys.push_back(row["key"]);
  }
  EXPECT_EQ(keys, (std::vector<std::string>{"method.type", "method.modality", "method.alpha"}));
}

TEST_F(Report, SumsConfusionMatricesOverTheSeeds) {
  write_comparison();
  const json report = data();
  EXPECT_EQ(report["methods"][1]["confusion"]["fused"], json({{6, 2}, {0, 8}}));
  EXPECT_EQ(report["methods"][1]["confusion"]["alone"]["audio"], json({{4, 4}, {2, 6}}));
  EXPECT_FALSE(report["methods"][0]["confusion"].contains("fused"));
}

TEST_F(Report, HasCurvesWithTheirRange) {
  write_comparison();
  const json curves = data()["curves"];
  EXPECT_EQ(curves["epochs"], json({1, 2}));
  const json& accuracy = curves["quantities"][0];
  EXPECT_EQ(accuracy["name"], "accuracy on val");
  EXPECT_EQ(accuracy["share"], true);
  ASSERT_EQ(accuracy["parts"].size(), 2);
  const json& fused = accuracy["parts"][0];
  EXPECT_EQ(fused["name"], "");
  ASSERT_EQ(fused["series"].size(), 2);  // not of audio trained alone
  const json& joint = fused["series"][0];
  EXPECT_EQ(joint["method"], 1);
  EXPECT_EQ(joint["mean"], json({0.3525, 0.705}));
  EXPECT_EQ(joint["low"], json({0.35, 0.7}));
  EXPECT_EQ(joint["high"], json({0.355, 0.71}));
  EXPECT_EQ(joint["runs"], json({{0.35, 0.7}, {0.355, 0.71}}));
  EXPECT_EQ(accuracy["parts"][1]["series"].size(), 3);
  for (const json& quantity : curves["quantities"]) {
    if (quantity["name"] == "loss on val") {
      EXPECT_EQ(quantity["parts"][1]["series"][0]["mean"], json({nullptr, nullptr}));
    }
  }
}

TEST_F(Report, ShowsProbesOrElseNormsOfGradients) {
  write_comparison();
  EXPECT_EQ(data()["gradients"]["probed"], false);
  EXPECT_EQ(data()["gradients"]["quantities"][0]["parts"][0]["series"][1]["mean"],
            json({0.25, 0.25}));
  write_text(folder_ / "joint-seed0" / "probes.jsonl",
             R"({"epoch":1,"modalities":{"audio":{"feature_ratio":0.5,"feature_cosine":null}}}
{"epoch":2,"modalities":{"audio":{"feature_ratio":0.25}}}
)");
  const json gradients = data()["gradients"];
  EXPECT_EQ(gradients["probed"], true);
  const json& ratio = gradients["quantities"][0];
  EXPECT_EQ(ratio["line"], 1);
  EXPECT_EQ(ratio["epochs"], json({1, 2}));
  EXPECT_EQ(ratio["parts"][0]["name"], "audio");
  EXPECT_EQ(ratio["parts"][0]["series"][0]["mean"], json({0.5, 0.25}));
}

TEST_F(Report, ThinsLongCurvesToTheirLastEpoch) {
  write_run("joint-seed0", "type = \"joint\"", 0, 0.7, 0.6);
  std::string lines;
  for (int epoch = 1; epoch <= 1003; ++epoch) {
    lines += fmt::format("{{\"epoch\":{},\"split\":\"val\",\"accuracy\":{}}}\n", epoch,
                         epoch == 2 ? 0.7 : 0.123456789);
  }
  lines += "{\"epoch\":2,\"split\":\"test\",\"accuracy\":0.7}\n";
  write_text(folder_ / "joint-seed0" / "metrics.jsonl", lines);
  const json curves = data()["curves"];
  EXPECT_LE(curves["epochs"].size(), 100);
  EXPECT_GE(curves["epochs"].size(), 90);
  EXPECT_EQ(curves["epochs"].back(), 1003);
  EXPECT_EQ(curves["quantities"][0]["parts"][0]["series"][0]["mean"].back(), 0.12346);
}

TEST_F(Report, NamesRunsThatAreMissing) {
  write_comparison();
  std::filesystem::remove(folder_ / "dgl-seed1" / "summary.json");
  std::filesystem::remove_all(folder_ / "joint-seed1");
  EXPECT_EQ(data()["missing"],
            json({{{"label", "dgl"}, {"seed", 1}, {"reason", "not finished"}},
                  {{"label", "joint"}, {"seed", 1}, {"reason", "no finished run"}}}));
  EXPECT_NE(
      error_of([&] { select_runs({folder_ / "dgl-seed1"}); }).find("dgl-seed1: expected a fin"),
      std::string::npos);
}

TEST_F(Report, TellsVariantsOfOneMethodApart) {
  write_run("a", "type = \"dgl\"\nalpha = 4.0", 0, 0.7, 0.6);
  write_run("b", "type = \"dgl\"\nalpha = 1.0", 1, 0.8, 0.6);
  const RunSelection selection = select_runs({folder_ / "a", folder_ / "b"});
  EXPECT_EQ(selection.runs[0].result.label, "dgl, method.alpha = 1.0");
  EXPECT_EQ(selection.runs[1].result.label, "dgl, method.alpha = 4.0");
  EXPECT_NE(error_of([&] {
              std::filesystem::copy(folder_ / "a", folder_ / "c");
              select_runs({folder_ / "a", folder_ / "c"});
            }).find("c: is dgl, seed 0, of which there is one"),
            std::string::npos);
}

TEST_F(Report, TeachersOfUmtAreOfTheSeed) {
  for (const int seed : {0, 1}) {
    write_run(fmt::format("umt-seed{}", seed),
              fmt::format("type = \"umt\"\n[method.teachers]\naudio = \"alone{}\"", seed), seed,
              0.7, 0.6);
  }
  const json report = data();
  ASSERT_EQ(report["methods"].size(), 1);
  EXPECT_EQ(report["methods"][0]["label"], "umt");
  EXPECT_EQ(report["methods"][0]["seeds"], json({0, 1}));
}

TEST_F(Report, ComparesWithTheRunsAloneThatAreBestOnVal) {
  write_run("slow", "type = \"unimodal\"\nmodality = \"audio\"\nx = 1", 0, 0.7, 0.7);
  write_run("fast", "type = \"unimodal\"\nmodality = \"audio\"\nx = 2", 0, 0.8, 0.8);
  write_run("joint", "type = \"joint\"", 0, 0.7, 0.6);
  const json report = data();
  EXPECT_EQ(report["trained_alone"]["audio"], "audio alone, method.x = 2");
  EXPECT_EQ(report["methods"][2]["gap"]["audio"][0], 0.2);
  EXPECT_TRUE(report["methods"][0]["fused"].is_null());
  EXPECT_TRUE(report["methods"][0]["gap"].empty());
}

TEST_F(Report, RefusesWhatIsNoRun) {
  write_comparison();
  const auto expect = [&](const std::string& says) {
    const std::string error = error_of([&] { static_cast<void>(data()); });
    EXPECT_NE(error.find(says), std::string::npos) << error;
  };
  write_text(folder_ / "dgl-seed0" / "probes.jsonl", "{\"epoch\":1,\"modalities\":{}}\n{\"ep\n");
  expect("dgl-seed0/probes.jsonl:2: expected a JSON object");
  std::filesystem::remove(folder_ / "dgl-seed0" / "probes.jsonl");
  write_text(folder_ / "dgl-seed0" / "metrics.jsonl", "{\"epoch\":1,\"split\":\"val\"}\n[]\n");
  expect("dgl-seed0/metrics.jsonl:2: expected a JSON object, found []");
  std::filesystem::remove(folder_ / "dgl-seed0" / "metrics.jsonl");
  expect("dgl-seed0/metrics.jsonl");
  EXPECT_NE(
      error_of([&] { select_runs({folder_ / "nothing"}); }).find("expected the folder of a run"),
      std::string::npos);
  std::filesystem::create_directories(folder_ / "empty");
  EXPECT_NE(error_of([&] { select_runs({folder_ / "empty"}); }).find("found none"),
            std::string::npos);
}

TEST_F(Report, DamagedValuesAreErrorsThatNameThem) {
  write_comparison();
  const std::filesystem::path run = folder_ / "dgl-seed0";
  const json good = json::parse(testing::read_text(run / "summary.json"));
  const auto expect = [&](const json& patch, const std::string& says) {
    json summary = good;
    summary.merge_patch(patch);
    write_text(run / "summary.json", summary.dump());
    const std::string error = error_of([&] { static_cast<void>(data()); });
    EXPECT_NE(error.find("dgl-seed0/summary.json: " + says), std::string::npos) << error;
  };
  expect({{"best_epoch", "two"}}, "expected a whole number from 0 on as best_epoch, found \"two\"");
  expect({{"best_epoch", 3}}, "expected an epoch of which metrics.jsonl has the accuracy on val");
  expect({{"peak_rss_mb", -1}}, "expected a number from 0 on as peak_rss_mb, found -1");
  expect({{"step_seconds_median", -1}}, "expected a number from 0 on as step_seconds_median");
  expect({{"machine", 5}}, "expected an object as machine, found 5");
  expect({{"confusion", {{"fused", {{3, 1}, {0}}}}}},
         "confusion: expected a confusion matrix of counts, 2 x 2, as fused, found [[3,1],[0]]");
  expect({{"confusion", {{"fused", {{3, -1}, {0, 4}}}}}}, "confusion: expected a confusion matrix");
  expect({{"confusion", {{"alone", {{"audio", {{2}}}}}}}},
         "confusion: alone: expected a confusion matrix of counts, 2 x 2, as audio, found [[2]]");
  write_text(run / "summary.json", good.dump());
  write_text(run / "metrics.jsonl",
             "{\"split\":\"train\",\"seconds\":1,\"epoch\":1}\n"
             "{\"split\":\"val\",\"epoch\":1,\"accuracy\":\"high\"}\n");
  EXPECT_NE(error_of([&] {
              static_cast<void>(data());
            }).find("metrics.jsonl:2: expected a number as accuracy, found \"high\""),
            std::string::npos);
  const std::string line = R"({"split":"train","seconds":1,"epoch":1})";
  write_text(run / "metrics.jsonl", line + "\n" + line + "\n");
  EXPECT_NE(error_of([&] {
              static_cast<void>(data());
            }).find("metrics.jsonl:2: expected a line for each epoch and split, found a second"),
            std::string::npos);
  write_text(run / "metrics.jsonl", R"({"split":"train","seconds":-1,"epoch":1})");
  EXPECT_NE(error_of([&] {
              static_cast<void>(data());
            }).find("metrics.jsonl:1: expected a number from 0 on as seconds, found -1"),
            std::string::npos);
}

TEST_F(Report, TakesEachFolderOnce) {
  write_comparison();
  EXPECT_NE(error_of([&] {
              select_runs({folder_ / "joint-seed0", folder_.path()});
            }).find("joint-seed0: expected each run once, got it twice"),
            std::string::npos);
}

TEST_F(Report, RefusesOtherData) {
  write_comparison();
  const std::filesystem::path path = folder_ / "dgl-seed0" / "summary.json";
  json summary = json::parse(testing::read_text(path));
  summary["data_hash"] = "other";
  write_text(path, summary.dump());
  EXPECT_THROW(static_cast<void>(data()), DataError);
}

TEST(ReportScript, HoldsNoMarkup) {
  const std::string text = as_script({{"name", "</script><b>&\xff\""}});
  EXPECT_EQ(text, "{\"name\":\"\\u003c/script\\u003e\\u003cb\\u003e\\u0026\xef\xbf\xbd\\\"\"}");
}

}  // namespace
}  // namespace unbraid
