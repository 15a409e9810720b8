#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "unbraid/training/recipe.h"
#include "unbraid/training/trainer.h"

namespace unbraid {

/// One split, every row checked; a DataError where the manifest has no such rows, or none that can
/// be used.
std::shared_ptr<ManifestDataSet> open_required_split(
    const Recipe& recipe, const std::shared_ptr<const Manifest>& manifest, Split split,
    const std::shared_ptr<TensorCache>& cache);

/// What a recipe is trained with.
struct OpenedParts {
  TrainingParts parts;
  std::map<std::string, std::vector<int64_t>> shapes;  // of the inputs, by modality
  std::vector<std::string> notes;  // for a person: how the initial weights were found
};

/// Opens the recipe's data, every row checked, and builds a model that takes it; `fresh`: with the
/// initial weights of the recipe's files, which a run that continues has no use for. `cache` may be
/// null.
OpenedParts open_parts(const Recipe& recipe, const std::shared_ptr<TensorCache>& cache, bool fresh);

/// The folder of a run that was given none: runs/<name of the recipe's file>-<method>-seed<seed>.
std::filesystem::path default_folder(const std::string& path, const Recipe& recipe);

/// The first difference of what decides a result between the recipe and the one that the run in
/// `folder` was started with; empty without one. `moved`: where data and teachers are does not
/// count.
std::string difference_from_run(const Recipe& recipe, const std::filesystem::path& folder,
                                bool moved = false);
/// Throws RecipeError unless the run in `folder` was started with this recipe.
void expect_started_with(const Recipe& recipe, const std::filesystem::path& folder);

/// From now on samples of `data` have to be of the shapes that the run was trained on, as far as it
/// says what they were.
void expect_shapes_of_run(ManifestDataSet& data, const RunDirectory& directory,
                          const Recipe& recipe);

/// Says on standard error where the data is not what the checkpoint of the run was trained on.
void warn_of_other_data(const Recipe& recipe, const Manifest& manifest, const RunState& state);

/// What a run had from its cache, for a person; empty without one.
std::string format_cache(const Recipe& recipe, const std::shared_ptr<TensorCache>& cache);

/// Trains `opened` in `directory`. `title` begins every line of progress.
TrainingResult run_recipe(const Recipe& recipe, const OpenedParts& opened, RunDirectory& directory,
                          bool resume, const std::string& title);

/// An evaluation as a table for a person: a line for the fused output and one for each modality
/// alone.
std::string format_evaluation(const Evaluation& evaluation, const Recipe& recipe);

}  // namespace unbraid
