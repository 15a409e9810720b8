#include "apps/unbraid/run_recipe.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "apps/unbraid/progress.h"
#include "unbraid/training/freezing.h"
#include "unbraid/training/toml.h"

namespace unbraid {
namespace {

/// The first input of each modality that can be read, as one sample.
Sample first_inputs(const ManifestDataSet& split, const Recipe& recipe) {
  Sample first;
  first.inputs.resize(recipe.modalities.size());
  for (size_t m = 0; m < first.inputs.size(); ++m) {
    std::string reason = "none has a cell for it";
    for (size_t index = 0; index < split.size() && !first.inputs[m].defined(); ++index) {
      if (!split.has(index, m)) {
        continue;
      }
      try {
        const Sample sample = split.get(index, 0, false);
        for (size_t other = m; other < first.inputs.size(); ++other) {
          if (!first.inputs[other].defined()) {
            first.inputs[other] = sample.inputs[other];
          }
        }
      } catch (const DataError& error) {
        if (!recipe.settings.skip_damaged) {
          throw;
        }
        reason = error.what();
      }
    }
    if (!first.inputs[m].defined()) {
      throw DataError(fmt::format("expected training samples with the modality {}: {}",
                                  recipe.modalities[m].name, reason));
    }
  }
  return first;
}

/// Whether the recipe leaves the size of a modality's feature to be found from data.
bool is_unsized(const Recipe& recipe, const std::string& modality) {
  Options root(parse_toml(recipe.resolved, recipe.name));
  Options encoder = root.table("modalities").table(modality).table("encoder");
  return encoder.has("feature_size") && encoder.integer("feature_size") == 0;
}

/// A c10::Error of an encoder that does not take an input, as an error of the recipe.
RecipeError refusal(const Recipe& recipe, const std::string& modality, const std::string& samples,
                    const torch::Tensor& input, const c10::Error& error) {
  const std::string what = error.what_without_backtrace();
  return RecipeError(fmt::format(
      "{}: modalities.{}.encoder: does not take {} of the shape [{}]: {}", recipe.name, modality,
      samples, fmt::join(input.sizes(), ", "), what.substr(0, what.find('\n'))));
}

/// Whether some batch may hold a single sample of some modality.
bool lacks_modalities(const ManifestDataSet& split, size_t modalities) {
  for (size_t index = 0; index < split.size(); ++index) {
    for (size_t m = 0; m < modalities; ++m) {
      if (!split.has(index, m)) {
        return true;
      }
    }
  }
  return false;
}

/// Samples in the smallest batch of an epoch of training.
int64_t smallest_batch(const Recipe& recipe, const Manifest& manifest, int64_t samples) {
  const TrainingSettings& settings = recipe.settings;
  if (settings.drop_last && samples < settings.batch_size) {
    throw RecipeError(fmt::format(
        "{}: data.batch_size: expected at most {}, the number of training rows of {}, got {}; or "
        "set data.drop_last = false",
        recipe.name, samples, manifest.path, settings.batch_size));
  }
  const int64_t left = settings.drop_last ? 0 : samples % settings.batch_size;
  return left > 0 ? left : settings.batch_size;
}

/// Runs one sample through the model, so that an encoder which does not fit its data is an error of
/// the recipe, found before there is a run. Where some batch of training holds a single sample, in
/// training mode too, where normalisation may refuse it; that changes the model's statistics.
void check_model(MultimodalModelImpl& model, const Recipe& recipe, const Sample& sample,
                 bool single) {
  const torch::NoGradGuard no_grad;
  if (single) {
    train_unfrozen(model);
  } else {
    model.eval();
  }
  ModalityTensors features(model.size());
  for (size_t m = 0; m < model.size(); ++m) {
    const torch::Tensor input = sample.inputs[m].unsqueeze(0).to(recipe.settings.device);
    try {
      features[m] = model.encode(m, input);
    } catch (const c10::Error& error) {
      throw refusal(recipe, model.name(m),
                    single ? "samples one by one, as a batch may hold them (see data.batch_size, "
                             "data.drop_last and missing modalities)"
                           : "samples",
                    sample.inputs[m], error);
    }
  }
  try {
    model.fuse(features);
  } catch (const c10::Error& error) {
    const std::string what = error.what_without_backtrace();
    throw RecipeError(fmt::format("{}: fusion: does not take these features{}: {}", recipe.name,
                                  single ? " one by one, as a batch may hold them" : "",
                                  what.substr(0, what.find('\n'))));
  }
}

/// The first line of a resolved recipe that is not the same in another one, with its table.
std::string first_difference(const std::string& recipe, const std::string& other) {
  std::istringstream lines(recipe);
  std::istringstream others(other);
  std::string line;
  std::string same;
  std::string table;
  while (std::getline(lines, line) && std::getline(others, same) && line == same) {
    table = line.starts_with('[') ? line + " " : table;
  }
  return fmt::format("{}{}, not {}", table, same, line);
}

}  // namespace

std::shared_ptr<ManifestDataSet> open_required_split(
    const Recipe& recipe, const std::shared_ptr<const Manifest>& manifest, Split split,
    const std::shared_ptr<TensorCache>& cache) {
  auto data = recipe.open_split(manifest, split, cache);
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

Recipe read_sized_recipe(const std::string& path, const std::vector<std::string>& overrides) {
  Recipe recipe = read_recipe(path, overrides);
  std::vector<std::string> sizes = overrides;
  Sample first;
  for (size_t m = 0; m < recipe.modalities.size(); ++m) {
    const ModalityRecipe& modality = recipe.modalities[m];
    if (!is_unsized(recipe, modality.name)) {
      continue;
    }
    if (first.inputs.empty()) {
      const auto manifest = recipe.open_manifest(show_generation);
      first = first_inputs(*open_required_split(recipe, manifest, Split::kTrain, nullptr), recipe);
    }
    const torch::NoGradGuard no_grad;
    const auto encoder = modality.encoder();
    encoder->eval();
    try {
      encoder->forward(first.inputs[m].unsqueeze(0));
    } catch (const c10::Error& error) {
      throw refusal(recipe, modality.name, "samples", first.inputs[m], error);
    }
    const std::string table = fmt::format("modalities.{}.encoder", modality.name);
    sizes.push_back(fmt::format("{}.feature_size={}", table, encoder->feature_size()));
    sizes.push_back(fmt::format("{}.features={}", table, name_of(encoder->feature_kind())));
  }
  return sizes.size() == overrides.size() ? recipe : read_recipe(path, sizes);
}

OpenedParts open_parts(const Recipe& recipe, const std::shared_ptr<TensorCache>& cache,
                       bool fresh) {
  const auto manifest = recipe.open_manifest(show_generation);
  const auto train = open_required_split(recipe, manifest, Split::kTrain, cache);
  const auto val = open_required_split(recipe, manifest, Split::kVal, cache);
  const auto test = recipe.open_split(manifest, Split::kTest, cache);
  const bool single = smallest_batch(recipe, *manifest, static_cast<int64_t>(train->size())) == 1 ||
                      lacks_modalities(*train, recipe.modalities.size());
  const Sample first = first_inputs(*train, recipe);
  TrainingParts parts{.model = recipe.build_model(),
                      .task = recipe.task,
                      .method = recipe.method,
                      .train = train,
                      .val = val,
                      .test = test,
                      .data_hash = manifest->hash};
  check_model(*parts.model, recipe, first, false);
  if (single) {
    check_model(*recipe.build_model(), recipe, first, true);
  }
  for (const auto& split : {train, val, test}) {
    if (split != nullptr) {
      split->expect_shapes_of(first);
    }
  }
  std::vector<std::string> notes;
  if (fresh) {
    notes = recipe.load_initial_weights(*parts.model);
  }
  return {parts, notes};
}

void expect_started_with(const Recipe& recipe, const std::filesystem::path& folder) {
  const std::string started = RunDirectory::open(folder).recipe();
  if (started != recipe.resolved) {
    throw RecipeError(fmt::format(
        "{}: differs from the recipe that {} was started with ({}); resume with "
        "{}/recipe.toml, or name another --out",
        recipe.name, folder.string(), first_difference(recipe.resolved, started), folder.string()));
  }
}

std::string format_cache(const Recipe& recipe, const std::shared_ptr<TensorCache>& cache) {
  if (cache == nullptr) {
    return "";
  }
  const TensorCache::Counts counts = cache->counts();
  return fmt::format("{}: {} samples read from it, {} added, {:.2f} GB{}\n", recipe.cache,
                     counts.found, counts.stored, static_cast<double>(counts.bytes) / 1e9,
                     counts.full ? "; it is full (data.cache_gb, or the disk)" : "");
}

TrainingResult run_recipe(const Recipe& recipe, const OpenedParts& opened, RunDirectory& directory,
                          bool resume, const std::string& title) {
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
