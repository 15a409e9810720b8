#include <filesystem>
#include <iostream>
#include <memory>

#include <fmt/format.h>

#include "apps/unbraid/commands.h"
#include "apps/unbraid/model_check.h"
#include "apps/unbraid/run_recipe.h"

namespace unbraid {
namespace {

struct TrainArguments {
  std::string recipe;
  std::vector<std::string> overrides;
  std::string out;
  bool resume = false;
  bool no_test = false;
};

std::filesystem::path folder_of_run(const TrainArguments& arguments, const Recipe& recipe) {
  namespace fs = std::filesystem;
  if (!arguments.out.empty()) {
    return arguments.out;
  }
  const fs::path path(arguments.recipe);
  if (arguments.resume && path.filename() == "recipe.toml" &&
      RunDirectory::was_created(folder_of(path))) {
    return folder_of(path);  // the recipe of a run continues that run
  }
  return default_folder(arguments.recipe, recipe);
}

void run(const TrainArguments& arguments) {
  const Recipe recipe = read_sized_recipe(arguments.recipe, arguments.overrides);
  const std::filesystem::path out = folder_of_run(arguments, recipe);
  const bool resume = arguments.resume && RunDirectory::holds_run(out);
  if (!resume) {
    RunDirectory::check_free(out);
  } else {
    expect_started_with(recipe, out);
  }
  const auto cache = recipe.open_cache();
  OpenedParts parts = open_parts(recipe, cache, !resume);
  if (arguments.no_test) {
    parts.parts.test = nullptr;
  }
  RunDirectory directory =
      resume ? RunDirectory::open(out) : RunDirectory::create(out, recipe.resolved);
  const TrainingResult result = run_recipe(recipe, parts, directory, resume, recipe.method->name());
  std::string report = fmt::format("best epoch {} (chosen on val) after {:.1f} s, in {}\n",
                                   result.best_epoch, result.seconds, out.string());
  if (result.test.samples > 0) {
    report += fmt::format("test, {} samples\n{}", result.test.samples,
                          format_evaluation(result.test, recipe));
  } else if (!result.no_test.empty()) {
    report += fmt::format("no samples of the split test, so no metrics beside those on val: {}\n",
                          result.no_test);
  } else {
    report += arguments.no_test ? "the test split was left alone: no metrics beside those on val\n"
                                : "no test rows in the manifest: no metrics beside those on val\n";
  }
  if (std::filesystem::exists(directory.path() / "quarantine.csv")) {
    report += fmt::format("some samples cannot be read and were skipped: {}/quarantine.csv\n",
                          out.string());
  }
  report += format_cache(recipe, cache);
  std::cout << report;
  directory.log(report);
}

}  // namespace

void add_train(CLI::App& app) {
  auto arguments = std::make_shared<TrainArguments>();
  CLI::App* command = app.add_subcommand("train", "Train what a recipe describes");
  command->add_option("RECIPE", arguments->recipe, "TOML file")->required();
  add_set(*command, arguments->overrides);
  add_out(*command, arguments->out,
          "Folder of the run; default runs/<recipe>-<method>-seed<seed>, or with --resume the "
          "folder of a run's own recipe.toml");
  command->add_flag("--resume", arguments->resume,
                    "Continue from the last finished epoch, or start when there is none");
  command->add_flag("--no-test", arguments->no_test,
                    "Leave the test split alone, as when settings are still being chosen");
  command->callback([arguments] { run(*arguments); });
}

}  // namespace unbraid
