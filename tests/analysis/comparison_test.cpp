#include "unbraid/analysis/comparison.h"

#include <cmath>

#include <gtest/gtest.h>

#include "temporary_folder.h"
#include "unbraid/core/error.h"

namespace unbraid {
namespace {

using testing::TemporaryFolder;
using testing::write_text;

RunResult fused(const std::string& label, int64_t seed, double accuracy, double audio,
                double visual) {
  RunResult result{label, seed, "accuracy", false, 0.5, {}, {}, 10, 100, {"data", {}}};
  result.fused = {{"accuracy", accuracy}, {"macro_f1", accuracy / 2}};
  result.alone = {{"audio", {{"accuracy", audio}, {"macro_f1", 0.1}}},
                  {"visual", {{"accuracy", visual}, {"macro_f1", 0.1}}}};
  return result;
}

RunResult alone(int64_t seed, double audio) {
  RunResult result{"audio alone", seed, "accuracy", false, 0.5, {}, {}, 4, 50, {"data", {}}};
  result.fused = {{"accuracy", audio}, {"macro_f1", 0.1}};
  result.alone = {{"audio", {{"accuracy", audio}, {"macro_f1", 0.1}}}};
  return result;
}

const std::map<std::string, std::string> kAlone{{"audio", "audio alone"},
                                                {"visual", "visual alone"}};

std::vector<RunResult> results() {
  return {alone(0, 0.8),
          fused("joint", 0, 0.70, 0.5, 0.4),
          fused("dgl", 0, 0.75, 0.7, 0.4),
          alone(1, 0.9),
          fused("joint", 1, 0.80, 0.5, 0.4),
          fused("dgl", 1, 0.83, 0.8, 0.4),
          fused("joint", 2, 0.9, 0.5, 0.4)};
}

TEST(Comparison, EstimatesDifferencesPairedBySeed) {
  const Comparison comparison = compare(results(), kAlone);
  EXPECT_EQ(comparison.metric, "accuracy");
  EXPECT_EQ(comparison.reference, "joint");
  ASSERT_EQ(comparison.rows.size(), 3);
  EXPECT_EQ(comparison.modalities, (std::vector<std::string>{"audio", "visual"}));

  const ComparisonRow& only_audio = comparison.rows[0];
  EXPECT_EQ(only_audio.label, "audio alone");
  EXPECT_EQ(only_audio.fused.count, 0);
  EXPECT_EQ(only_audio.difference.count, 0);
  EXPECT_NEAR(only_audio.alone.at("audio").mean, 0.85, 1e-12);
  EXPECT_TRUE(only_audio.gap.empty());

  const ComparisonRow& joint = comparison.rows[1];
  EXPECT_EQ(joint.runs, 3);
  EXPECT_NEAR(joint.fused.mean, 0.8, 1e-12);
  EXPECT_NEAR(joint.second.mean, 0.4, 1e-12);
  EXPECT_EQ(joint.difference.count, 0);
  EXPECT_EQ(joint.gap.at("audio").count, 2);  // of the seeds that both have
  EXPECT_NEAR(joint.gap.at("audio").mean, 0.35, 1e-12);
  EXPECT_EQ(joint.gap.count("visual"), 0);  // it was not trained alone

  const ComparisonRow& dgl = comparison.rows[2];
  EXPECT_EQ(dgl.difference.count, 2);
  EXPECT_NEAR(dgl.difference.mean, 0.04, 1e-12);
  EXPECT_NEAR(dgl.difference.half_width, 12.7062 * 0.01, 1e-4);
  EXPECT_EQ(dgl.wins, 2);
  EXPECT_NEAR(dgl.gap.at("audio").mean, 0.1, 1e-12);
  EXPECT_NEAR(dgl.alone_difference.at("audio").mean, 0.25, 1e-12);  // 0.7, 0.8 less 0.5, 0.5
  EXPECT_NEAR(dgl.alone_difference.at("audio").half_width, 12.7062 * 0.05, 1e-4);
  EXPECT_TRUE(joint.alone_difference.empty());
  EXPECT_TRUE(only_audio.alone_difference.empty());
}

TEST(Comparison, SmallerErrorsWin) {
  auto runs = results();
  for (RunResult& run : runs) {
    run.smaller_is_better = true;
  }
  EXPECT_EQ(compare(runs, kAlone).rows[2].wins, 0);
}

TEST(Comparison, RefusesOtherData) {
  auto runs = results();
  runs[4].data.manifest = "other";
  try {
    compare(runs, kAlone);
    ADD_FAILURE() << "nothing was thrown";
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("joint, seed 1"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("other"), std::string::npos) << error.what();
  }
  // Runs of one modality alone know its files, those of older versions know of none.
  runs = results();
  runs[0].data.files = {{"audio", "1"}};
  runs[1].data.files = {{"audio", "1"}, {"visual", "2"}};
  EXPECT_NO_THROW(compare(runs, kAlone));
  EXPECT_EQ(difference_of_data(runs[0].data, runs[1].data), "");
  runs[1].data.files["audio"] = "3";
  EXPECT_EQ(difference_of_data(runs[0].data, runs[1].data), "files of audio (hash 1, not 3)");
  EXPECT_THROW(compare(runs, kAlone), DataError);
  // Of those that the first run does not know, too.
  runs = results();
  runs[0].data.files = {{"audio", "1"}};
  runs[1].data.files = {{"visual", "2"}};
  runs[2].data.files = {{"visual", "3"}};
  EXPECT_THROW(compare(runs, kAlone), DataError);
  runs = results();
  runs[2].metric = "mae";
  EXPECT_THROW(compare(runs, kAlone), DataError);
}

TEST(Comparison, KnowsMethodsThatDidNothingOfTheirOwn) {
  auto runs = results();
  EXPECT_TRUE(compare(runs, kAlone).like_reference.empty());
  for (const int64_t seed : {0, 1}) {
    for (const char* label : {"joint", "relearning"}) {
      runs.push_back(fused(label, seed + 10, 0.7, 0.5, 0.4));
      runs.back().fused["loss"] = 0.1 * static_cast<double>(seed + 1);
    }
  }
  EXPECT_EQ(compare(runs, kAlone).like_reference, (std::vector<std::string>{"relearning"}));
  runs.back().fused["loss"] += 1e-15;
  EXPECT_TRUE(compare(runs, kAlone).like_reference.empty());
  runs.back().fused = runs[runs.size() - 2].fused;
  runs.back().alone["audio"]["macro_f1"] = 0.2;
  EXPECT_TRUE(compare(runs, kAlone).like_reference.empty());
}

TEST(Comparison, WithoutItsReferenceThereAreNoDifferences) {
  const Comparison comparison = compare({fused("dgl", 0, 0.7, 0.5, 0.4)}, kAlone);
  EXPECT_EQ(comparison.reference, "");
  EXPECT_EQ(comparison.rows[0].difference.count, 0);
  EXPECT_EQ(to_text(comparison).find("minus"), std::string::npos);
  EXPECT_TRUE(compare({}, kAlone).rows.empty());
}

TEST(Comparison, OfOneModalityHasNoGaps) {
  RunResult one = fused("joint", 0, 0.7, 0.5, 0.4);
  one.alone.erase("visual");
  EXPECT_EQ(to_text(compare({one}, kAlone)).find("gap"), std::string::npos);
  EXPECT_NE(to_text(compare(results(), kAlone)).find("gap of visual"), std::string::npos);
}

TEST(Comparison, IsWrittenInFourForms) {
  const Comparison comparison = compare(results(), kAlone);
  const std::string text = to_text(comparison);
  EXPECT_NE(text.find("0.8000 ± 0.2484"), std::string::npos) << text;
  EXPECT_NE(text.find("2 of 2"), std::string::npos) << text;
  const std::string markdown = to_markdown(comparison);
  EXPECT_TRUE(markdown.starts_with("|  | accuracy | macro_f1 | minus joint | wins | audio |"))
      << markdown;
  EXPECT_EQ(std::count(markdown.begin(), markdown.end(), '\n'), 5);
  const std::string latex = to_latex(comparison);
  EXPECT_NE(latex.find("macro\\_f1"), std::string::npos) << latex;
  EXPECT_NE(latex.find("0.8000 $\\pm$ 0.2484"), std::string::npos) << latex;
  const std::string csv = to_csv(comparison);
  EXPECT_TRUE(csv.starts_with("method,runs,accuracy,accuracy_low,accuracy_high,macro_f1")) << csv;
  EXPECT_NE(csv.find("dgl,2,0.79,"), std::string::npos) << csv;
  // As many fields in every line.
  const auto fields = std::count(csv.begin(), csv.begin() + static_cast<int>(csv.find('\n')), ',');
  EXPECT_EQ(std::count(csv.begin(), csv.end(), ','), fields * 4) << csv;
  const std::string runs = runs_to_csv(results());
  EXPECT_TRUE(runs.starts_with("method,seed,best_val,accuracy,accuracy_audio,accuracy_visual,"))
      << runs;
  EXPECT_NE(runs.find("joint,2,0.5,0.9,0.5,0.4,"), std::string::npos) << runs;
}

TEST(Comparison, ReadsTheSummaryOfARun) {
  const TemporaryFolder folder;
  write_text(
      folder / "summary.json",
      R"({"seed":3,"best_by":"mae","best_is":"smallest","best_val":0.4,"best_epoch":1,"peak_rss_mb":81.5,
                 "data_hash":"abc","mae":0.5,"mae_alone":{"audio":0.7},"loss":1,
                 "loss_alone":{"audio":2}})");
  write_text(folder / "metrics.jsonl",
             "{\"split\":\"train\",\"seconds\":2.5}\n{\"split\":\"val\",\"epoch\":1,\"mae\":0.4}\n"
             "{\"split\":\"train\",\"seconds\":1.5}\n{\"split\":\"val\",\"epoch\":2,\"mae\":0.6}\n"
             "{\"split\":\"test\",\"epoch\":1,\"mae\":0.5,\"mae_alone\":{\"audio\":0.7}}\n");
  const RunResult result = read_result(folder.path(), "dgl");
  EXPECT_EQ(result.seed, 3);
  EXPECT_TRUE(result.smaller_is_better);
  EXPECT_EQ(result.fused.at("mae"), 0.5);
  EXPECT_EQ(result.alone.at("audio").at("loss"), 2);
  EXPECT_EQ(result.seconds, 4);
  EXPECT_EQ(result.peak_rss_mb, 81.5);
  EXPECT_EQ(result.data.manifest, "abc");
  EXPECT_TRUE(result.data.files.empty());
  write_text(folder / "summary.json", "{\"seed\":3}");
  EXPECT_THROW(read_result(folder.path(), "dgl"), StorageError);
  write_text(folder / "summary.json", "{");
  EXPECT_THROW(read_result(folder.path(), "dgl"), StorageError);
  EXPECT_THROW(read_result(folder / "nothing", "dgl"), StorageError);
}

/// The message of reading a run whose summary.json has `by` in place of `what`, after the folder.
std::string error_after(const std::string& what, const std::string& by, const std::string& lines) {
  const TemporaryFolder folder;
  std::string text =
      R"({"seed":3,"best_by":"accuracy","best_is":"largest","best_val":0.4,"best_epoch":2,)"
      R"("peak_rss_mb":81.5,"data_hash":"abc","files_hash":{"audio":"1"},"accuracy":0.5,)"
      R"("accuracy_alone":{"audio":0.7}})";
  text.replace(text.find(what), what.size(), by);
  write_text(folder / "summary.json", text);
  write_text(folder / "metrics.jsonl", lines);
  write_text(folder / "recipe.toml", "seed = 3\n");
  try {
    read_result(folder.path(), "dgl");
  } catch (const StorageError& error) {
    return std::string(error.what()).substr(folder.path().string().size() + 1);
  }
  return "nothing was thrown";
}

const std::string kLines = R"({"split":"train","epoch":1,"seconds":1}
{"split":"val","epoch":1,"accuracy":0.3}
{"split":"train","epoch":2,"seconds":1}
{"split":"val","epoch":2,"accuracy":0.4}
{"split":"test","epoch":2,"accuracy":0.5,"accuracy_alone":{"audio":0.7}}
)";

TEST(Comparison, DamagedValuesAreErrorsThatNameThem) {
  EXPECT_EQ(error_after("0.5", "0.5", kLines), "nothing was thrown");
  EXPECT_EQ(error_after("0.5", "\"good\"", kLines),
            "summary.json: expected a number as accuracy, found \"good\"");
  EXPECT_EQ(error_after("0.5", "7.5", kLines),
            "summary.json: expected a share from 0 to 1 as accuracy, found 7.5");
  EXPECT_EQ(error_after("0.7", "-0.1", kLines),
            "summary.json: accuracy_alone: expected a share from 0 to 1 as audio, found -0.1");
  EXPECT_EQ(error_after("0.4", "true", kLines),
            "summary.json: expected a number as best_val, found true");
  EXPECT_EQ(error_after(":3", ":-3", kLines),
            "summary.json: expected a whole number from 0 on as seed, found -3");
  EXPECT_EQ(error_after("{\"audio\":0.7}", "4", kLines),
            "summary.json: expected an object as accuracy_alone, found 4");
  EXPECT_EQ(error_after("\"1\"", "1", kLines),
            "summary.json: files_hash: expected a text as audio, found 1");
  EXPECT_EQ(error_after("0.5", "0.5", R"({"split":"train","seconds":"soon"})"),
            "metrics.jsonl:1: expected a number from 0 on as seconds, found \"soon\"");
  EXPECT_EQ(error_after("0.5", "0.5", R"({"seconds":1})"),
            "metrics.jsonl:1: expected a text as split, found nothing");
}

TEST(Comparison, ASummaryHasToSayWhatTheMetricsSay) {
  EXPECT_EQ(error_after("0.4", "0.3", kLines),
            "summary.json: expected the accuracy on val of metrics.jsonl, 0.4, as best_val, found "
            "0.3");
  EXPECT_EQ(error_after(":2,", ":3,", kLines),
            "summary.json: expected an epoch of which metrics.jsonl has the accuracy on val as "
            "best_epoch, found 3");
  EXPECT_EQ(error_after("0.5", "0.99", kLines),
            "summary.json: expected what metrics.jsonl has of test as accuracy, found 0.99");
  EXPECT_EQ(error_after("0.5", "null", kLines),
            "summary.json: expected what metrics.jsonl has of test as accuracy, found null");
  EXPECT_EQ(error_after("0.7", "0.6", kLines),
            "summary.json: expected what metrics.jsonl has of test as accuracy_alone, found "
            "{\"audio\":0.6}");
  const std::string untested = kLines.substr(0, kLines.find("{\"split\":\"test\""));
  EXPECT_EQ(error_after("0.5", "0.5", untested),
            "summary.json: expected nothing without a line of test in metrics.jsonl as accuracy, "
            "found 0.5");
  // What no sample gave a value is null in both.
  std::string without = kLines;
  without.replace(without.find("0.5"), 3, "null");
  EXPECT_EQ(error_after("0.5", "null", without), "nothing was thrown");
  EXPECT_EQ(error_after("\"seed\"", "\"recipe_hash\":\"1\",\"seed\"", kLines),
            "summary.json: expected the hash of the recipe.toml beside it as recipe_hash, found "
            "\"1\"");
}

}  // namespace
}  // namespace unbraid
