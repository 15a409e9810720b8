#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>
#include <sstream>
#include <utility>
#include <vector>

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
  return fs::path("runs") / fmt::format("{}-{}-seed{}", path.stem().string(), recipe.method->name(),
                                        recipe.settings.seed);
}

/// The keys of a resolved recipe, with their tables, and their values.
std::vector<std::pair<std::string, std::string>> keys_of(const std::string& resolved) {
  std::vector<std::pair<std::string, std::string>> keys;
  std::istringstream lines(resolved);
  std::string table;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with('[')) {
      table = line.substr(1, line.size() - 2) + ".";
    } else if (const size_t equals = line.find(" = "); equals != std::string::npos) {
      keys.emplace_back(table + line.substr(0, equals), line.substr(equals + 3));
    }
  }
  return keys;
}

/// What one resolved recipe has first that is not the same in another one.
std::string first_difference(const std::string& recipe, const std::string& started) {
  const auto keys = keys_of(recipe);
  const auto before = keys_of(started);
  const auto find_in = [](const auto& list, const std::string& key) {
    return std::find_if(list.begin(), list.end(),
                        [&](const auto& entry) { return entry.first == key; });
  };
  for (const auto& [key, value] : before) {
    const auto now = find_in(keys, key);
    if (now == keys.end()) {
      return fmt::format("{} = {}, which is not there", key, value);
    }
    if (now->second != value) {
      return fmt::format("{} = {}, not {}", key, value, now->second);
    }
  }
  for (const auto& [key, value] : keys) {
    if (find_in(before, key) == before.end()) {
      return fmt::format("without {} = {}", key, value);
    }
  }
  return "the same in another order";
}

void run(const TrainArguments& arguments) {
  const Recipe recipe = read_sized_recipe(arguments.recipe, arguments.overrides);
  const std::filesystem::path out = folder_of_run(arguments, recipe);
  const bool resume = arguments.resume && RunDirectory::holds_run(out);
  if (!resume) {
    RunDirectory::check_free(out);
  } else if (const std::string started = RunDirectory::open(out).recipe();
             started != recipe.resolved) {
    throw RecipeError(fmt::format(
        "{}: differs from the recipe that {} was started with ({}); resume with "
        "{}/recipe.toml, or name another --out",
        arguments.recipe, out.string(), first_difference(recipe.resolved, started), out.string()));
  }
  const auto cache = recipe.open_cache();
  const OpenedParts parts = open_parts(recipe, cache, !resume);
  RunDirectory directory =
      resume ? RunDirectory::open(out) : RunDirectory::create(out, recipe.resolved);
  const TrainingResult result = run_recipe(recipe, parts, directory, resume, recipe.method->name());
  std::string report = fmt::format("best epoch {} (chosen on val) after {:.1f} s, in {}\n",
                                   result.best_epoch, result.seconds, out.string());
  if (result.test.samples > 0) {
    report += fmt::format("test, {} samples\n{}", result.test.samples,
                          format_evaluation(result.test, recipe));
  } else {
    report += "no test rows in the manifest: no metrics beside those on val\n";
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
  command->callback([arguments] { run(*arguments); });
}

}  // namespace unbraid
