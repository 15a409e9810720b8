#include <nlohmann/json.hpp>

#include "apps/command_line.h"

namespace unbraid::testing {
namespace {

using nlohmann::json;

class ReportCommand : public CommandLine {
 protected:
  [[nodiscard]] Outcome report(const std::string& runs, const std::string& out = "r.html") const {
    return unbraid_program(fmt::format("report {} -o {}", runs, (folder_ / out).string()));
  }
  [[nodiscard]] std::string run(const std::string& name = "run") const {
    return (folder_ / name).string();
  }
  /// The data of the page.
  [[nodiscard]] json data() const {
    const std::string page = read_text(folder_ / "r.html");
    const std::string start = "<script type=\"application/json\" id=\"data\">";
    const size_t from = page.find(start) + start.size();
    return json::parse(page.substr(from, page.find("</script>", from) - from));
  }
};

TEST_F(ReportCommand, MakesOnePageOfRuns) {
  ASSERT_EQ(train("").code, 0);
  ASSERT_EQ(train("--set 'method={ type = \"joint\" }'", "joint").code, 0);
  ASSERT_EQ(train("--set 'method={ type = \"unimodal\", modality = \"left\" }'", "alone").code, 0);
  const Outcome outcome = report(run() + " " + run("joint") + " " + run("alone"));
  ASSERT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_NE(outcome.output.find("r.html: 3 runs\n"), std::string::npos) << outcome.output;
  const std::string page = read_text(folder_ / "r.html");
  EXPECT_NE(page.find("Permission is hereby granted"), std::string::npos);  // uPlot's licence
  for (const char* remote : {"src=", "@import", "url(", "href=\"http"}) {
    EXPECT_EQ(page.find(remote), std::string::npos) << remote;
  }
  const json report = data();
  ASSERT_EQ(report["methods"].size(), 3);
  EXPECT_EQ(report["methods"][0]["label"], "left alone");
  EXPECT_EQ(report["methods"][1]["label"], "joint");
  EXPECT_TRUE(report["methods"][1]["gap"].contains("left"));
  EXPECT_EQ(report["curves"]["epochs"], json({1, 2, 3}));
  EXPECT_FALSE(report["gradients"]["quantities"].empty());
  // Every sample of test is in the matrix of the run's own summary.
  int samples = 0;
  for (const json& row : report["methods"][2]["confusion"]["fused"]) {
    for (const json& cell : row) {
      samples += cell.get<int>();
    }
  }
  EXPECT_EQ(samples, 12);
  EXPECT_EQ(report["methods"][2]["confusion"]["alone"].size(), 2);
  // A list of numbers is one line of the summary.
  const std::string summary = read_text(folder_ / "run/summary.json");
  EXPECT_NE(summary.find("    \"fused\": [\n      ["), std::string::npos) << summary;
  EXPECT_EQ(std::count(summary.begin(), summary.end(), '['), 12) << summary;
  EXPECT_EQ(json::parse(summary)["confusion"]["fused"], report["methods"][2]["confusion"]["fused"]);
  // The same again, over the page that is there.
  ASSERT_EQ(this->report(run()).code, 0);
  EXPECT_EQ(data()["runs"].size(), 1);
}

TEST_F(ReportCommand, NamesWhatAComparisonLacks) {
  for (const char* seed : {"0", "1"}) {
    for (const char* method : {"joint", "dgl"}) {
      ASSERT_EQ(train(fmt::format("--set seed={} --set 'method={{ type = \"{}\" }}'", seed, method),
                      fmt::format("all/{}-seed{}", method, seed))
                    .code,
                0);
    }
  }
  std::filesystem::remove(folder_ / "all/dgl-seed1/summary.json");
  const Outcome outcome = report(run("all"));
  ASSERT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_NE(outcome.output.find("3 runs (1 more are missing"), std::string::npos) << outcome.output;
  EXPECT_EQ(data()["missing"], json({{{"label", "dgl"}, {"seed", 1}, {"reason", "not finished"}}}));
}

TEST_F(ReportCommand, RunsOfAVersionWithFewerKeysAreOfTheSameMethod) {
  for (int seed = 0; seed < 2; ++seed) {
    ASSERT_EQ(train(fmt::format("--set seed={0}", seed), fmt::format("run{0}", seed)).code, 0);
  }
  const std::filesystem::path recipe = folder_ / "run1/recipe.toml";
  std::string text = read_text(recipe);
  const size_t key = text.find("nesterov = ");
  ASSERT_NE(key, std::string::npos) << text;
  text.erase(key, text.find('\n', key) + 1 - key);
  write_text(recipe, text);
  const std::filesystem::path summary = folder_ / "run1/summary.json";
  std::string content = read_text(summary);
  content.erase(content.find("\"recipe_hash\""),
                content.find('\n', content.find("recipe_hash")) - content.find("\"recipe_hash\""));
  write_text(summary, content);
  ASSERT_EQ(report(run("run0") + " " + run("run1")).code, 0);
  ASSERT_EQ(data()["methods"].size(), 1);
  EXPECT_EQ(data()["methods"][0]["label"], "dgl");
}

TEST_F(ReportCommand, BadInputIsOneLine) {
  ASSERT_EQ(train("").code, 0);
  expect_error(report(run("nothing")), 5, "expected the folder of a run");
  expect_error(report(folder_.path().string() + "/recipe.toml"), 5, "expected the folder of a run");
  std::filesystem::create_directories(folder_ / "empty");
  expect_error(report(run("empty")), 5, "found none");
  expect_error(report(run() + " " + run()), 2, "run: expected each run once, got it twice");
  expect_error(unbraid_program("report"), 2, "RUN");
  expect_error(report(run(), "nowhere/r.html"), 5, "nowhere");
  write_text(folder_ / "mine.html", "<!DOCTYPE html>\n<p>mine</p>");
  expect_error(report(run(), "mine.html"), 2, "is not a report of Unbraid");
  EXPECT_EQ(read_text(folder_ / "mine.html"), "<!DOCTYPE html>\n<p>mine</p>");
  const std::string metrics = read_text(folder_ / "run/metrics.jsonl");
  write_text(folder_ / "run/metrics.jsonl", metrics + "{\"epoch\":");
  expect_error(report(run()), 5, "metrics.jsonl:8: expected a JSON object");
  std::filesystem::remove(folder_ / "run/metrics.jsonl");
  expect_error(report(run()), 5, "metrics.jsonl");
  write_text(folder_ / "run/metrics.jsonl", metrics);
  const std::string summary = read_text(folder_ / "run/summary.json");
  write_text(folder_ / "run/summary.json", "{");
  expect_error(report(run()), 5, "summary.json");
  std::filesystem::remove(folder_ / "run/summary.json");
  expect_error(report(run()), 5, "expected a finished run");
  write_text(folder_ / "run/summary.json", summary);
  ASSERT_EQ(train("--set data.shuffle=false --set seed=1", "other").code, 0);
  std::string other = read_text(folder_ / "other/summary.json");
  const size_t hash = other.find("\"data_hash\": \"") + 14;
  other.replace(hash, 4, "0000");
  write_text(folder_ / "other/summary.json", other);
  expect_error(report(run() + " " + run("other")), 4, "the manifests (hash ");
}

}  // namespace
}  // namespace unbraid::testing
