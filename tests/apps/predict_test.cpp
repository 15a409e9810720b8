// `unbraid predict` as a user meets it.
#include <map>

#include <nlohmann/json.hpp>

#include "apps/command_line.h"
#include "unbraid/data/csv.h"

namespace unbraid {
namespace {

using testing::Outcome;
using testing::read_text;
using testing::unbraid_program;
using testing::write_npy;
using testing::write_text;

using Rows = std::vector<std::map<std::string, std::string>>;

class Predict : public testing::CommandLine {
 protected:
  Outcome predict(const std::string& manifest, const std::string& more = "") {
    write_text(folder_ / "rows.csv", manifest);
    return unbraid_program(fmt::format("predict {} {} -o {} {}", (folder_ / "run").string(),
                                       (folder_ / "rows.csv").string(), out(), more));
  }
  [[nodiscard]] std::string out() const { return (folder_ / "out.csv").string(); }

  /// The file written, by column.
  [[nodiscard]] Rows rows() const {
    CsvReader csv(read_text(out()), out());
    std::vector<std::string> header;
    std::vector<std::string> fields;
    csv.next(header);
    Rows rows;
    while (csv.next(fields)) {
      EXPECT_EQ(fields.size(), header.size());
      rows.emplace_back();
      for (size_t i = 0; i < header.size() && i < fields.size(); ++i) {
        rows.back()[header[i]] = fields[i];
      }
    }
    return rows;
  }
};

const std::vector<std::string> kColumns = {"prediction", "p_0", "p_1", "p_2"};

TEST_F(Predict, AgreesWithTheRunAndKeepsTheOrder) {
  ASSERT_EQ(train("").code, 0);
  // The test split of the run, backwards, without labels.
  std::string manifest = "right,id,left\n";
  for (int row = 59; row >= 48; --row) {
    manifest += fmt::format("{},s{},{}\n", row, row, row);
  }
  const Outcome outcome = predict(manifest, "--absent left --absent left");
  ASSERT_EQ(outcome.code, 0) << outcome.output;
  ASSERT_EQ(predict(manifest).code, 0);  // replaces a file of predictions
  const std::string text = read_text(out());
  EXPECT_TRUE(
      text.starts_with("id,prediction,p_0,p_1,p_2,left.prediction,left.p_0,left.p_1,"
                       "left.p_2,right.prediction,right.p_0,right.p_1,right.p_2\n"))
      << text;
  const Rows predicted = rows();
  ASSERT_EQ(predicted.size(), 12);
  std::map<std::string, int> hits;
  for (int i = 0; i < 12; ++i) {
    auto row = predicted[i];
    const int number = 59 - i;
    EXPECT_EQ(row["id"], fmt::format("s{}", number));
    for (const std::string view : {"", "left.", "right."}) {
      hits[view] += row[view + "prediction"] == std::to_string(number % 3) ? 1 : 0;
      const double sum = std::stod(row[view + "p_0"]) + std::stod(row[view + "p_1"]) +
                         std::stod(row[view + "p_2"]);
      EXPECT_NEAR(sum, 1, 2e-6);
    }
  }
  const auto summary = nlohmann::json::parse(read_text(folder_ / "run/summary.json"));
  EXPECT_DOUBLE_EQ(hits[""] / 12.0, summary["accuracy"].get<double>());
  EXPECT_DOUBLE_EQ(hits["left."] / 12.0, summary["accuracy_alone"]["left"].get<double>())
      << summary.dump();
}

TEST_F(Predict, RowsMayBeIncomplete) {
  ASSERT_EQ(train("").code, 0);
  ASSERT_EQ(predict("id,left,right\na,50,51\nb,50,51\nc,50,51\n").code, 0);
  const auto whole = rows().front();
  const Outcome outcome = predict("id,left,right\n\"a, \"\"b\"\"\",50,51\nb,50,\nc,,51\n");
  ASSERT_EQ(outcome.code, 0) << outcome.output;
  Rows found = rows();
  ASSERT_EQ(found.size(), 3);
  EXPECT_EQ(found[0]["id"], "a, \"b\"");
  for (const std::string& column : kColumns) {
    for (const std::string view : {"", "left.", "right."}) {
      EXPECT_EQ(found[0][view + column], whole.at(view + column));
    }
    // What is left stands for the whole.
    EXPECT_EQ(found[1]["left." + column], whole.at("left." + column));
    EXPECT_EQ(found[1][column], whole.at("left." + column));
    EXPECT_EQ(found[1]["right." + column], "");
    EXPECT_EQ(found[2]["right." + column], whole.at("right." + column));
    EXPECT_EQ(found[2][column], whole.at("right." + column));
    EXPECT_EQ(found[2]["left." + column], "");
  }
  expect_error(predict("id,left,right\na,50,51\nb,,\n"), 4,
               "rows.csv:3: expected a cell for at least one of left, right, all are empty");

  // Neither column nor cell of what is absent is asked for.
  ASSERT_EQ(predict("id,right\na,51\n", "--absent left").code, 0);
  found = rows();
  EXPECT_EQ(found[0]["prediction"], whole.at("right.prediction"));
  EXPECT_EQ(found[0]["p_1"], whole.at("right.p_1"));
  EXPECT_EQ(found[0]["left.p_1"], "");
}

TEST_F(Predict, LeavesOutWhatCannotBeReadWhereTheRunSkips) {
  write_npy(folder_ / "good.npy", {4}, {1, 0, 0, 0});
  std::string manifest = read_text(folder_ / "manifest.csv");
  read_left_from_files();
  std::string files = "id,split,label,left,right\n";
  for (int row = 0; row < 60; ++row) {
    files += fmt::format("s{},{},{},good.npy,{}\n", row, row < 36 ? "train" : "val", row % 3, row);
  }
  write_text(folder_ / "manifest.csv", files);
  const std::string rows_text =
      "id,left,right\na,good.npy,3\nb,missing.npy,4\nc,,\nd,damaged.npy,5\ne,good.npy,6\n";
  write_text(folder_ / "damaged.npy", "\x93NUMPY nonsense");
  ASSERT_EQ(train("--set train.epochs=1").code, 0);
  expect_error(predict(rows_text), 4, "rows.csv:4: expected a cell");
  expect_error(predict("id,left,right\na,good.npy,3\nb,missing.npy,4\n"), 4, "rows.csv:3: left: ");
  EXPECT_FALSE(std::filesystem::exists(out()));
  const Outcome asked = predict(rows_text, "--skip-damaged");
  ASSERT_EQ(asked.code, 0) << asked.output;
  for (const std::string part : {"left out: ", "rows.csv:3: left: ", "left out: 3 of 5 rows\n"}) {
    EXPECT_NE(asked.output.find(part), std::string::npos) << part << "\n" << asked.output;
  }
  EXPECT_EQ(rows().size(), 2);

  std::filesystem::remove_all(folder_ / "run");
  ASSERT_EQ(train("--set train.epochs=1 --set data.on_error=skip").code, 0);
  const Outcome outcome = predict(rows_text);
  ASSERT_EQ(outcome.code, 0) << outcome.output;
  for (const std::string part : {"rows.csv:3: left: ", "rows.csv:4: expected",
                                 "rows.csv:5: left: ", "2 rows, epoch 1 (3 more cannot be read)"}) {
    EXPECT_NE(outcome.output.find(part), std::string::npos) << part << "\n" << outcome.output;
  }
  Rows found = rows();
  ASSERT_EQ(found.size(), 2);
  EXPECT_EQ(found[0]["id"], "a");
  EXPECT_EQ(found[1]["id"], "e");
  const Outcome none = predict("id,left,right\nb,missing.npy,4\n");
  EXPECT_EQ(none.code, 4) << none.output;
  EXPECT_NE(none.output.find("none can be read"), std::string::npos) << none.output;
  EXPECT_EQ(rows().size(), 2);  // the file of before
}

// The encoder takes sequences of any length, the fusion as many tokens as it has positions for.
TEST_F(Predict, RefusesSamplesOfAnotherShapeThanTheRuns) {
  const std::vector<float> values(60 * 64, 0.5F);
  write_npy(folder_ / "table.npy", {60, 4, 4}, std::vector<float>(60 * 16, 0.5F));
  const std::string encoder =
      "--set modalities.{}.encoder='{{ type = \"cnn1d\", in_features = 4, tokens = true }}' ";
  ASSERT_EQ(train(fmt::format(fmt::runtime(encoder + encoder), "left", "right") +
                  "--set train.epochs=1 --set fusion='{ type = \"transformer\", width = 8, "
                  "max_tokens = 2 }'")
                .code,
            0);
  const std::string run = (folder_ / "run").string();
  const std::string rows = "id,left,right\na,1,2\nb,3,4\n";
  ASSERT_EQ(predict(rows).code, 0);
  write_npy(folder_ / "table.npy", {60, 16, 4}, values);
  expect_error(predict(rows), 4, "rows.csv:2: left: expected the shape [4, 4] of what the run was");
  expect_error(unbraid_program("eval " + run), 4,
               "manifest.csv:50: left: expected the shape [4, 4]");
  std::filesystem::remove(folder_ / "run/inputs.json");
  const std::string tokens =
      "the batch from sample '{}' on: the fusion does not take these features: [transformer] "
      "expected at most 2 tokens";
  expect_error(predict(rows), 4, fmt::format(fmt::runtime(tokens), "a"));
  expect_error(unbraid_program("eval " + run), 4, fmt::format(fmt::runtime(tokens), "s48"));
}

TEST_F(Predict, RefusesWhatIsWrong) {
  ASSERT_EQ(train("--set train.epochs=1").code, 0);
  const std::string good = "id,left,right\na,50,51\n";
  const std::string run = (folder_ / "run").string();
  expect_error(predict("id,left,rihgt\na,50,51\n"), 4, "rows.csv:1: expected a column 'right'");
  expect_error(predict("id,left,right\na,50,51,3\n"), 4, "rows.csv:2: expected 3 fields");
  expect_error(predict(good, "--absent smell"), 2, "left, right");
  expect_error(predict(good, "--absent left --absent right"), 2, "--absent");
  expect_error(unbraid_program("predict " + run), 2, "MANIFEST");
  const std::string manifest = (folder_ / "manifest.csv").string();
  expect_error(unbraid_program(fmt::format("predict {} {} -o {}", run, manifest, manifest)), 2,
               "is the manifest");
  expect_error(
      unbraid_program(fmt::format("predict {} {} -o {}", run, manifest, recipe().string())), 2,
      "is there already and is not a file of such predictions");
  write_text(folder_ / "mine.csv", "id,prediction,notes\n1,x,mine\n");
  expect_error(unbraid_program(fmt::format("predict {} {} -o {}", run, manifest,
                                           (folder_ / "mine.csv").string())),
               2, "is there already and is not a file of such predictions");
  expect_error(unbraid_program(fmt::format("predict {} {} -o /proc/no.csv", run, manifest)), 5,
               "/proc/no.csv");
  expect_error(unbraid_program(fmt::format("predict {} nothing.csv -o {}", run, out())), 4,
               "nothing.csv");
  // A sample that the encoder does not take.
  write_npy(folder_ / "table.npy", {60, 5}, std::vector<float>(300));
  expect_error(predict(good), 4,
               "rows.csv:2: left: expected the shape [4] of what the run was trained on, found [5] "
               "in 'a'");
  std::filesystem::remove(folder_ / "run/inputs.json");  // of a run that does not know it
  expect_error(predict(good), 4,
               "the batch from sample 'a' on: left: the encoder does not take samples of [5]");
  write_text(folder_ / "run/inputs.json", R"({"left":[4]})");
  expect_error(predict(good), 5,
               "inputs.json: expected the shape of a sample of each of left, right");
  write_text(folder_ / "run/inputs.json", R"({"left":[4],"right":[-4]})");
  expect_error(predict(good), 5,
               "inputs.json: expected the shape of a sample of each of left, right");
  write_text(folder_ / "run/inputs.json", "nonsense");
  expect_error(predict(good), 5, "inputs.json: expected the shapes of a run's inputs");
}

}  // namespace
}  // namespace unbraid
