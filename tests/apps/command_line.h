#pragma once

#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include "npy_file.h"
#include "temporary_folder.h"

namespace unbraid::testing {

struct Outcome {
  int code = -1;
  std::string output;  // of both streams
};

inline Outcome unbraid_program(const std::string& arguments) {
  const std::string command = fmt::format("{} {} 2>&1 </dev/null", UNBRAID_PROGRAM, arguments);
  FILE* pipe = popen(command.c_str(), "r");
  Outcome outcome;
  std::array<char, 4096> buffer{};
  while (const size_t count = fread(buffer.data(), 1, buffer.size(), pipe)) {
    outcome.output.append(buffer.data(), count);
  }
  const int status = pclose(pipe);
  outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return outcome;
}

/// A recipe over a small table that is easy to learn.
class CommandLine : public ::testing::Test {
 protected:
  CommandLine() {
    std::vector<float> values;
    std::string manifest = "id,split,label,left,right\n";
    for (int row = 0; row < 60; ++row) {
      const int label = row % 3;
      for (int column = 0; column < 4; ++column) {
        values.push_back(static_cast<float>((column == label ? 1.0 : 0.0) + 0.01 * (row % 7)));
      }
      const char* split = row < 36 ? "train" : row < 48 ? "val" : "test";
      manifest += fmt::format("s{},{},{},{},{}\n", row, split, label, row, row);
    }
    write_npy(folder_ / "table.npy", {60, 4}, values);
    write_text(folder_ / "manifest.csv", manifest);
    write_text(recipe(),
               "[data]\nmanifest = \"manifest.csv\"\nbatch_size = 12\nworkers = 1\n"
               "[modalities.left]\nkind = \"array\"\ntable = \"table.npy\"\n"
               "encoder = { type = \"mlp\", layers = [4, 8] }\n"
               "[modalities.right]\nkind = \"array\"\ntable = \"table.npy\"\n"
               "encoder = { type = \"mlp\", layers = [4, 8] }\n"
               "[fusion]\ntype = \"concat\"\n"
               "[task]\ntype = \"classification\"\nclasses = 3\n"
               "[method]\ntype = \"dgl\"\n"
               "[optimizer]\ntype = \"sgd\"\nlr = 0.1\n"
               "[train]\nepochs = 3\n");
  }

  [[nodiscard]] std::filesystem::path recipe() const { return folder_ / "recipe.toml"; }
  [[nodiscard]] Outcome train(const std::string& more, const std::string& out = "run") const {
    return unbraid_program(
        fmt::format("train {} --out {} {}", recipe().string(), (folder_ / out).string(), more));
  }

  /// Without a table, a cell is a path.
  void read_left_from_files() const {
    const std::string table = "table = \"table.npy\"\n";
    std::string text = read_text(recipe());
    text.erase(text.find(table), table.size());
    write_text(recipe(), text);
  }

  /// One line, with the code, that says what it should.
  static void expect_error(const Outcome& outcome, int code, const std::string& says) {
    EXPECT_EQ(outcome.code, code) << outcome.output;
    EXPECT_EQ(std::count(outcome.output.begin(), outcome.output.end(), '\n'), 1) << outcome.output;
    EXPECT_TRUE(outcome.output.starts_with("unbraid: ")) << outcome.output;
    EXPECT_NE(outcome.output.find(says), std::string::npos) << outcome.output;
  }

  TemporaryFolder folder_;
};

}  // namespace unbraid::testing
