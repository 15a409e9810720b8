#include <algorithm>
#include <array>
#include <cmath>
#include <ctime>
#include <iostream>
#include <memory>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "apps/unbraid/commands.h"
#include "apps/unbraid/progress.h"
#include "apps/unbraid/run_recipe.h"
#include "kDemoRecipe.h"

namespace unbraid {
namespace {

struct DemoArguments {
  int seeds = 1;
  std::vector<std::string> overrides;
  std::string out;
};

struct DemoMethod {
  const char* title;
  const char* method;  // a TOML table
};

constexpr std::array kMethods{
    DemoMethod{"audio alone", "{ type = \"unimodal\", modality = \"audio\" }"},
    DemoMethod{"visual alone", "{ type = \"unimodal\", modality = \"visual\" }"},
    DemoMethod{"joint", "{ type = \"joint\" }"},
    DemoMethod{"auxiliary", "{ type = \"auxiliary\" }"},
    DemoMethod{"DGL", "{ type = \"dgl\" }"},
};

/// Mean and, of several values, the sample standard deviation.
std::string in_words(const std::vector<double>& values, int digits) {
  if (values.empty()) {
    return "-";
  }
  double mean = 0;
  for (const double value : values) {
    mean += value / static_cast<double>(values.size());
  }
  if (values.size() == 1) {
    return fmt::format("{:.{}f}", mean, digits);
  }
  double squares = 0;
  for (const double value : values) {
    squares += (value - mean) * (value - mean);
  }
  return fmt::format("{:.{}f} ± {:.{}f}", mean, digits,
                     std::sqrt(squares / static_cast<double>(values.size() - 1)), digits);
}

/// The results of one method over the seeds.
struct Row {
  std::string title;
  std::vector<double> fused;
  std::vector<double> audio;
  std::vector<double> visual;
  std::vector<double> seconds;

  void add(const Recipe& recipe, const TrainingResult& result) {
    const auto names = recipe.modality_names();
    for (size_t m = 0; m < names.size(); ++m) {
      const double accuracy = 100 * result.test.alone[m].selecting();
      (names[m] == "audio" ? audio : visual).push_back(accuracy);
    }
    if (names.size() > 1) {
      fused.push_back(100 * result.test.fused.selecting());
    }
    seconds.push_back(result.seconds);
  }
};

std::string format_table(const std::vector<Row>& rows) {
  // A width of fmt counts the two bytes of ± as one column.
  std::string text =
      fmt::format("{:<14}{:>14}{:>14}{:>14}{:>14}\n", "", "fused", "audio", "visual", "seconds");
  for (const Row& row : rows) {
    text += fmt::format("{:<14}{:>14}{:>14}{:>14}{:>14}\n", row.title, in_words(row.fused, 1),
                        in_words(row.audio, 1), in_words(row.visual, 1), in_words(row.seconds, 0));
  }
  return text +
         "Test accuracy in %; audio and visual: of that modality alone, inside the fused model "
         "where "
         "there is one.\n";
}

void run(const DemoArguments& arguments) {
  const std::filesystem::path out =
      arguments.out.empty()
          ? std::filesystem::path("runs") /
                fmt::format("demo-{:%Y%m%d-%H%M%S}", fmt::localtime(std::time(nullptr)))
          : std::filesystem::path(arguments.out);
  std::vector<Row> rows;
  rows.reserve(kMethods.size());
  for (const DemoMethod& method : kMethods) {
    rows.push_back({method.title, {}, {}, {}, {}});
  }
  for (int seed = 0; seed < arguments.seeds; ++seed) {
    for (size_t i = 0; i < kMethods.size(); ++i) {
      std::vector<std::string> overrides{fmt::format("seed={}", seed),
                                         fmt::format("method={}", kMethods[i].method)};
      overrides.insert(overrides.end(), arguments.overrides.begin(), arguments.overrides.end());
      const Recipe recipe = parse_recipe(std::string(kDemoRecipe), "avdigits", overrides);
      if (const auto metric = recipe.task->metrics()->values().front().first;
          metric != "accuracy") {
        throw RecipeError(
            fmt::format("task: expected one of accuracy, which the demo compares, got {}", metric));
      }
      std::string folder = fmt::format("{}-seed{}", kMethods[i].title, seed);
      std::replace(folder.begin(), folder.end(), ' ', '-');
      RunDirectory::check_free(out / folder);
      const OpenedParts parts = open_parts(recipe, recipe.open_cache(), true);
      RunDirectory directory = RunDirectory::create(out / folder, recipe.resolved);
      rows[i].add(recipe, run_recipe(recipe, parts, directory, false,
                                     fmt::format("{:<12} seed {}", kMethods[i].title, seed)));
    }
  }
  std::cout << format_table(rows) << "Runs are in " << out.string() << "\n";
}

}  // namespace

void add_demo(CLI::App& app) {
  auto arguments = std::make_shared<DemoArguments>();
  CLI::App* command = app.add_subcommand(
      "demo", "Train audio alone, visual alone, joint, auxiliary and DGL on the embedded data set");
  command->add_option("--seeds", arguments->seeds, "Repeat with this many seeds; mean and spread")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  add_set(*command, arguments->overrides);
  add_out(*command, arguments->out, "Folder of the runs; default runs/demo-<time>");
  command->callback([arguments] { run(*arguments); });
}

}  // namespace unbraid
