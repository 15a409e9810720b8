#include "apps/unbraid/run_recipe.h"

#include <algorithm>
#include <iostream>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "apps/unbraid/model_check.h"
#include "apps/unbraid/progress.h"
#include "unbraid/core/stop.h"
#include "unbraid/training/recipe_keys.h"

namespace unbraid {
namespace {

/// Labels in which every pixel is ignored would make metrics that mean nothing.
void check_labels(const Recipe& recipe, const ManifestDataSet& data, Split split) {
  const PixelLabels* labels = recipe.task->pixel_labels();
  if (labels == nullptr) {
    return;
  }
  for (size_t index = 0; index < data.size(); ++index) {
    throw_if_stopped();
    try {
      if ((data.target(index) != labels->ignore).any().item<bool>()) {
        return;
      }
    } catch (const DataError&) {
      if (!recipe.settings.skip_damaged) {
        throw;
      }
    }
  }
  throw DataError(fmt::format(
      "{}: expected labels of the split {} with a pixel that counts, found none: all are {} "
      "(task.ignore)",
      data.path(), name_of(split), labels->ignore));
}

/// As Recipe::open_split; a split none of whose samples can be used is a DataError.
std::shared_ptr<ManifestDataSet> open_usable_split(const Recipe& recipe,
                                                   const std::shared_ptr<const Manifest>& manifest,
                                                   Split split,
                                                   const std::shared_ptr<TensorCache>& cache) {
  auto data = recipe.open_split(manifest, split, cache);
  if (data != nullptr && data->size() > 0) {
    check_labels(recipe, *data, split);
  }
  return data;
}

/// Of samples that may be skipped one has to be left, which is known before training.
void expect_readable(const Recipe& recipe, const ManifestDataSet& data, Split split) {
  std::string reason;
  for (size_t index = 0; recipe.settings.skip_damaged && index < data.size(); ++index) {
    throw_if_stopped();
    try {
      static_cast<void>(data.get(index, 0, false));
      return;
    } catch (const DataError& error) {
      reason = reason.empty() ? error.what() : reason;
    }
  }
  if (!reason.empty()) {
    throw DataError(fmt::format("expected samples of the split {}, none can be read: {}",
                                name_of(split), reason));
  }
}

/// The keys of a resolved recipe that decide what a run becomes.
RecipeKeys deciding_keys_of(const std::string& resolved, bool moved) {
  RecipeKeys keys = keys_of(resolved);
  std::erase_if(keys, [&](const auto& entry) {
    return only_reads_data(entry.first) || (moved && only_says_where(entry.first));
  });
  return keys;
}

/// What `before` has first that is not the same in `keys`.
std::string first_difference(const RecipeKeys& keys, const RecipeKeys& before) {
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

}  // namespace

std::shared_ptr<ManifestDataSet> open_required_split(
    const Recipe& recipe, const std::shared_ptr<const Manifest>& manifest, Split split,
    const std::shared_ptr<TensorCache>& cache) {
  auto data = open_usable_split(recipe, manifest, split, cache);
  if (data == nullptr) {
    throw DataError(fmt::format("{}: expected rows of the split {}, found none", manifest->path,
                                name_of(split)));
  }
  if (data->size() == 0) {
    throw DataError(fmt::format("expected samples of the split {}, none can be read: {}",
                                name_of(split), data->dropped().front().reason));
  }
  return data;
}

OpenedParts open_parts(const Recipe& recipe, const std::shared_ptr<TensorCache>& cache,
                       bool fresh) {
  const auto manifest = recipe.open_manifest(show_generation);
  const auto train = open_required_split(recipe, manifest, Split::kTrain, cache);
  const auto val = open_required_split(recipe, manifest, Split::kVal, cache);
  expect_readable(recipe, *val, Split::kVal);
  const auto test = open_usable_split(recipe, manifest, Split::kTest, cache);
  const FirstInputs first = first_inputs(*train, recipe);
  OpenedParts opened{.parts = {.model = build_checked_model(recipe, *train, first),
                               .task = recipe.task,
                               .method = recipe.method,
                               .train = train,
                               .val = val,
                               .test = test,
                               .data_hash = recipe.data_hash(*manifest)},
                     .shapes = {},
                     .notes = {}};
  std::vector<InputShape> shapes;
  for (size_t m = 0; m < first.inputs.size(); ++m) {
    const std::vector<int64_t> sizes = first.inputs[m].sizes().vec();
    opened.shapes[recipe.modalities[m].name] = sizes;
    shapes.push_back({sizes, fmt::format("the first training sample ('{}', {})",
                                         train->id(first.rows[m]), train->place(first.rows[m]))});
  }
  for (const auto& split : {train, val, test}) {
    if (split != nullptr) {
      split->expect_shapes(shapes);
    }
  }
  if (fresh) {
    opened.notes = recipe.load_initial_weights(*opened.parts.model);
  }
  return opened;
}

void expect_shapes_of_run(ManifestDataSet& data, const RunDirectory& directory,
                          const Recipe& recipe) {
  const auto known = directory.input_shapes();
  const auto names = recipe.modality_names();
  const bool fits = std::all_of(known.begin(), known.end(), [&](const auto& shape) {
    return std::find(names.begin(), names.end(), shape.first) != names.end() &&
           std::all_of(shape.second.begin(), shape.second.end(),
                       [](int64_t size) { return size > 0; });
  });
  if (!known.empty() && (!fits || known.size() != names.size())) {
    throw StorageError(
        fmt::format("{}: expected the shape of a sample of each of {}, found something else",
                    (directory.path() / "inputs.json").string(), fmt::join(names, ", ")));
  }
  std::vector<InputShape> shapes;
  for (const std::string& name : names) {
    const auto shape = known.find(name);
    shapes.push_back(shape == known.end()
                         ? InputShape()
                         : InputShape{shape->second, "what the run was trained on"});
  }
  data.expect_shapes(std::move(shapes));
}

void warn_of_other_data(const Recipe& recipe, const Manifest& manifest, const RunState& state) {
  const std::string what =
      state.data.manifest.empty() ? "" : difference_of_data(recipe.data_hash(manifest), state.data);
  if (!what.empty()) {
    std::cerr << fmt::format("warning: {}: the data has changed since the run: the {} differ",
                             manifest.path, what)
              << std::endl;
  }
}

std::filesystem::path default_folder(const std::string& path, const Recipe& recipe) {
  return std::filesystem::path("runs") / fmt::format("{}-{}-seed{}",
                                                     std::filesystem::path(path).stem().string(),
                                                     recipe.method->name(), recipe.settings.seed);
}

std::string difference_from_run(const Recipe& recipe, const std::filesystem::path& folder,
                                bool moved) {
  const std::string started =
      resolve_again(RunDirectory::open(folder).recipe(), (folder / "recipe.toml").string());
  const RecipeKeys keys = deciding_keys_of(recipe.resolved, moved);
  const RecipeKeys before = deciding_keys_of(started, moved);
  return keys == before ? "" : first_difference(keys, before);
}

void expect_started_with(const Recipe& recipe, const std::filesystem::path& folder) {
  if (const std::string difference = difference_from_run(recipe, folder); !difference.empty()) {
    throw RecipeError(
        fmt::format("{}: differs from the recipe that {} was started with ({}); resume with "
                    "{}/recipe.toml, or name another --out",
                    recipe.name, folder.string(), difference, folder.string()));
  }
}

std::string format_cache(const Recipe& recipe, const std::shared_ptr<TensorCache>& cache) {
  if (cache == nullptr) {
    return "";
  }
  const TensorCache::Counts counts = cache->counts();
  constexpr double kGb = 1e9;
  const auto bytes = static_cast<double>(counts.bytes);
  std::string text = fmt::format("{}: {} samples read from it, {} added, {}", recipe.cache,
                                 counts.found, counts.stored,
                                 bytes < kGb ? fmt::format("{:.1f} MB", bytes / (kGb / 1000))
                                             : fmt::format("{:.2f} GB", bytes / kGb));
  if (counts.full) {
    text += "; it is full (data.cache_gb, or the disk)";
  }
  if (counts.read_only) {
    text += "; it cannot be written";
  }
  if (counts.unreadable > 0) {
    text += fmt::format("; {} of its files cannot be read", counts.unreadable);
  }
  return text + "\n";
}

TrainingResult run_recipe(const Recipe& recipe, const OpenedParts& opened, RunDirectory& directory,
                          bool resume, const std::string& title) {
  directory.write_input_shapes(opened.shapes);
  Progress progress(title, recipe.settings.epochs, &directory);
  for (const std::string& note : opened.notes) {
    progress.line(note);
  }
  try {
    return train(opened.parts, recipe.settings, directory, resume, &progress);
  } catch (const Error& error) {
    directory.log(error.what());
    throw;
  }
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
