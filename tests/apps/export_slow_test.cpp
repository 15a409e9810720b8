// The examples in Python on what `unbraid export` writes.
#include <cmath>
#include <cstdlib>
#include <sstream>

#include <torch/csrc/jit/serialization/import.h>

#include "apps/command_line.h"
#include "unbraid/core/torch.h"
#include "unbraid/data/csv.h"

namespace unbraid {
namespace {

using testing::Outcome;
using testing::read_text;
using testing::unbraid_program;
using testing::write_npy;
using testing::write_text;

class PythonExamples : public testing::CommandLine {
 protected:
  void SetUp() override {
    if (std::system("/usr/bin/python3 -c 'import torch' >/dev/null 2>&1") != 0) {
      GTEST_SKIP() << "Python has no torch (Debian: python3-torch)";
    }
  }
  [[nodiscard]] std::string file(const std::string& name) const {
    return (folder_ / name).string();
  }
  [[nodiscard]] Outcome export_run(const std::string& out, const std::string& more = "") const {
    return unbraid_program(fmt::format("export {} -o {} {}", file("run"), file(out), more));
  }
  /// What a Python example prints.
  [[nodiscard]] std::vector<std::vector<double>> python(const std::string& script,
                                                        const std::string& arguments) const {
    const std::string out = file("python.csv");
    EXPECT_EQ(std::system(fmt::format("/usr/bin/python3 {}/examples/python/{} {} >{}",
                                      UNBRAID_SOURCE_DIR, script, arguments, out)
                              .c_str()),
              0);
    std::vector<std::vector<double>> rows;
    std::istringstream lines(read_text(out));
    for (std::string line; std::getline(lines, line);) {
      rows.emplace_back();
      std::istringstream cells(line);
      for (std::string cell; std::getline(cells, cell, ',');) {
        rows.back().push_back(std::stod(cell));
      }
    }
    return rows;
  }
};

TEST_F(PythonExamples, ComputeWhatPredictWrites) {
  ASSERT_EQ(train("").code, 0);
  ASSERT_EQ(export_run("model.pt").code, 0);
  const std::vector<float> values = {1, 0, 0.5, 0.25, 0.1, 1, 0, 0};
  write_npy(file("rows.npy"), {2, 4}, values);
  write_npy(file("table.npy"), {2, 4}, values);
  write_text(file("rows.csv"), "id,left,right\na,0,1\nb,0,\n");
  ASSERT_EQ(unbraid_program(
                fmt::format("predict {} {} -o {}", file("run"), file("rows.csv"), file("out.csv")))
                .code,
            0);
  write_npy(file("first.npy"), {1, 4}, {1, 0, 0.5, 0.25});
  write_npy(file("second.npy"), {1, 4}, {0.1, 1, 0, 0});
  const std::string left = fmt::format("{} left={}", file("model.pt"), file("first.npy"));
  const auto both = python("run_model.py", fmt::format("{} right={}", left, file("second.npy")));
  const auto alone = python("run_model.py", left);
  CsvReader csv(read_text(file("out.csv")), "out.csv");
  std::vector<std::string> cells;
  csv.next(cells);
  for (const auto& outputs : {both.at(0), alone.at(0)}) {
    csv.next(cells);
    ASSERT_EQ(outputs.size(), 3);
    double total = 0;
    for (const double output : outputs) {
      total += std::exp(output);
    }
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_NEAR(std::exp(outputs[i]) / total, std::stod(cells.at(2 + i)), 1e-5);
    }
  }

  ASSERT_EQ(export_run("left.safetensors", "--encoder left").code, 0);
  ASSERT_EQ(export_run("left.pt", "--encoder left").code, 0);
  const auto features =
      python("encoder_weights.py", file("left.safetensors") + " " + file("rows.npy"));
  const torch::Tensor expected =
      torch::jit::load(file("left.pt")).forward({torch::tensor(values).view({2, 4})}).toTensor();
  ASSERT_EQ(features.size(), 2);
  for (size_t row = 0; row < 2; ++row) {
    ASSERT_EQ(features[row].size(), 8);
    for (size_t i = 0; i < 8; ++i) {
      EXPECT_NEAR(features[row][i],
                  expected[static_cast<int64_t>(row)][static_cast<int64_t>(i)].item<double>(),
                  1e-5);
    }
  }
}

}  // namespace
}  // namespace unbraid
