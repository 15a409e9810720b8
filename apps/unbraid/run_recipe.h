#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "unbraid/training/recipe.h"
#include "unbraid/training/trainer.h"

namespace unbraid {

/// As read_recipe; sizes of features that it leaves to be found (`feature_size = 0`) are found from
/// the first training samples.
Recipe read_sized_recipe(const std::string& path, const std::vector<std::string>& overrides);

/// One split, every row checked; a DataError where the manifest has no such rows.
std::shared_ptr<ManifestDataSet> open_required_split(
    const Recipe& recipe, const std::shared_ptr<const Manifest>& manifest, Split split,
    const std::shared_ptr<TensorCache>& cache);

/// What a recipe is trained with.
struct OpenedParts {
  TrainingParts parts;
  std::vector<std::string> notes;  // for a person: how the initial weights were found
};

/// Opens the recipe's data, every row checked, and builds a model that takes it; `fresh`: with the
/// initial weights of the recipe's files, which a run that continues has no use for. `cache` may be
/// null.
OpenedParts open_parts(const Recipe& recipe, const std::shared_ptr<TensorCache>& cache, bool fresh);

/// Throws RecipeError unless the run in `folder` was started with this recipe.
void expect_started_with(const Recipe& recipe, const std::filesystem::path& folder);

/// What a run had from its cache, for a person; empty without one.
std::string format_cache(const Recipe& recipe, const std::shared_ptr<TensorCache>& cache);

/// Trains `opened` in `directory`. `title` begins every line of progress.
TrainingResult run_recipe(const Recipe& recipe, const OpenedParts& opened, RunDirectory& directory,
                          bool resume, const std::string& title);

/// An evaluation as a table for a person: a line for the fused output and one for each modality
/// alone.
std::string format_evaluation(const Evaluation& evaluation, const Recipe& recipe);

}  // namespace unbraid
