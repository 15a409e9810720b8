#include <algorithm>
#include <iostream>
#include <memory>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "apps/unbraid/commands.h"
#include "apps/unbraid/progress.h"
#include "apps/unbraid/run_recipe.h"

namespace unbraid {
namespace {

struct EvalArguments {
  std::string run;
  std::string split = "test";
  std::vector<std::string> absent;
  bool subsets = false;
};

/// A line for each combination of modalities.
std::string format_subsets(const std::vector<SubsetScores>& subsets,
                           const std::vector<std::string>& modalities) {
  std::vector<std::string> names;
  size_t width = 24;
  for (const SubsetScores& subset : subsets) {
    std::vector<std::string> present;
    for (size_t m = 0; m < modalities.size(); ++m) {
      if (subset.present[m]) {
        present.push_back(modalities[m]);
      }
    }
    names.push_back(fmt::format("{}", fmt::join(present, " + ")));
    width = std::max(width, names.back().size() + 2);
  }
  std::string text = fmt::format("{:<{}}{:>8}{:>10}", "", width, "samples", "loss");
  for (const auto& [metric, value] : subsets.back().scores.metrics) {
    text += fmt::format("{:>12}", metric);
  }
  for (size_t i = 0; i < subsets.size(); ++i) {
    text += fmt::format("\n{:<{}}{:>8}", names[i], width, subsets[i].samples);
    if (subsets[i].samples > 0) {
      text += fmt::format("{:>10.4f}", subsets[i].scores.loss);
    }
    for (const auto& [metric, value] : subsets[i].scores.metrics) {
      text += fmt::format("{:>12.4f}", value);
    }
  }
  return text + "\n";
}

void run(const EvalArguments& arguments) {
  const RunDirectory directory = RunDirectory::open(arguments.run);
  const Recipe recipe =
      parse_recipe(directory.recipe(), (directory.path() / "recipe.toml").string());
  const std::vector<bool> absent = read_absent(arguments.absent, recipe.modality_names());
  const Split split = split_named(arguments.split);
  const auto manifest = recipe.open_manifest(show_generation);
  const auto data = open_required_split(recipe, manifest, split, recipe.open_cache());
  expect_shapes_of_run(*data, directory, recipe);
  MultimodalModel model = recipe.build_model();
  const RunState state = directory.load("best", *model, nullptr);
  if (arguments.subsets) {
    const auto subsets = evaluate_subsets(*model, *recipe.task, data, recipe.settings);
    warn_of_other_data(recipe, *manifest, state);
    std::cout << fmt::format("{}, epoch {}\n{}", arguments.split, state.epoch,
                             format_subsets(subsets, recipe.modality_names()));
    return;
  }
  const Evaluation evaluation = evaluate(*model, *recipe.task, data, recipe.settings, absent);
  if (evaluation.samples == 0) {
    throw DataError("expected samples to evaluate, " + why_no_samples(evaluation, *data));
  }
  warn_of_other_data(recipe, *manifest, state);
  const size_t skipped = evaluation.skipped.size() + data->dropped().size();
  std::cout << fmt::format("{}, epoch {}, {} samples{}\n{}\nfused: {}", arguments.split,
                           state.epoch, evaluation.samples,
                           skipped == 0 ? "" : fmt::format(" ({} more cannot be read)", skipped),
                           format_evaluation(evaluation, recipe), evaluation.fused.details);
}

}  // namespace

void add_eval(CLI::App& app) {
  auto arguments = std::make_shared<EvalArguments>();
  CLI::App* command =
      app.add_subcommand("eval", "Evaluate the best checkpoint of a run, fused and per modality");
  command->add_option("RUN", arguments->run, "Folder of a run")->required()->check(not_empty);
  command->add_option("--split", arguments->split, "train, val or test")->capture_default_str();
  add_absent(*command, arguments->absent, "Evaluate as if this modality did not exist");
  command
      ->add_flag("--subsets", arguments->subsets,
                 "Evaluate every combination of modalities instead")
      ->excludes("--absent");
  command->callback([arguments] { run(*arguments); });
}

}  // namespace unbraid
