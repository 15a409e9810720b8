#include "apps/unbraid/run_recipe.h"

#include <fmt/format.h>

#include "apps/unbraid/progress.h"

namespace unbraid {

TrainingParts open_parts(const Recipe& recipe) {
  const auto manifest = recipe.open_manifest(show_generation);
  const auto required = [&](Split split) {
    auto data = recipe.open_split(manifest, split);
    if (data == nullptr) {
      throw DataError(fmt::format("{}: expected rows of the split {}, found none", manifest->path,
                                  name_of(split)));
    }
    return data;
  };
  return {
      .model = recipe.build_model(),
      .task = recipe.task,
      .method = recipe.method,
      .train = required(Split::kTrain),
      .val = required(Split::kVal),
      .test = recipe.open_split(manifest, Split::kTest),
  };
}

TrainingResult run_recipe(const Recipe& recipe, const TrainingParts& parts, RunDirectory& directory,
                          bool resume, const std::string& title) {
  Progress progress(title, recipe.settings.epochs, &directory);
  return train(parts, recipe.settings, directory, resume, &progress);
}

std::string format_evaluation(const Evaluation& evaluation, const Recipe& recipe) {
  const auto names = recipe.modality_names();
  std::string text = fmt::format("{:<24}{:>10}", "", "loss");
  for (const auto& [metric, value] : evaluation.fused.metrics) {
    text += fmt::format("{:>12}", metric);
  }
  const auto row = [&](const std::string& name, const Scores& scores) {
    text += fmt::format("\n{:<24}{:>10.4f}", name, scores.loss);
    for (const auto& [metric, value] : scores.metrics) {
      text += fmt::format("{:>12.4f}", value);
    }
  };
  row("fused", evaluation.fused);
  for (size_t m = 0; m < names.size(); ++m) {
    if (!evaluation.alone[m].metrics.empty()) {
      row(names[m] + " alone", evaluation.alone[m]);
    }
  }
  return text + "\n";
}

}  // namespace unbraid
