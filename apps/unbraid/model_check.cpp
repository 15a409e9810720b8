#include "apps/unbraid/model_check.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "apps/unbraid/progress.h"
#include "apps/unbraid/run_recipe.h"
#include "unbraid/core/stop.h"
#include "unbraid/models/encoders/torchscript.h"
#include "unbraid/training/freezing.h"
#include "unbraid/training/toml.h"

namespace unbraid {
namespace {

std::string message_of(const c10::Error& error) {
  const std::string what = error.what_without_backtrace();
  return what.substr(0, what.find('\n'));
}

/// What the resolved recipe has of a modality's encoder.
Options encoder_options(const Recipe& recipe, const std::string& modality) {
  Options root(parse_toml(recipe.resolved, recipe.name));
  return root.table("modalities").table(modality).table("encoder");
}

/// Throws what it means that the encoder of modality `m` does not take its first input: an error of
/// the data where others of the next samples have another shape, else of the recipe.
[[noreturn]] void refuse(const Recipe& recipe, const ManifestDataSet& train,
                         const FirstInputs& first, size_t m, const std::string& samples,
                         const c10::Error& error) {
  constexpr size_t kMostSamples = 64;
  const std::string& name = recipe.modalities[m].name;
  const torch::Tensor& input = first.inputs[m];
  const size_t row = first.rows[m];
  for (size_t index = 0; index < std::min(train.size(), kMostSamples); ++index) {
    throw_if_stopped();
    torch::Tensor other;
    try {
      other = train.has(index, m) ? train.get(index, 0, false).inputs[m] : other;
    } catch (const DataError&) {
      continue;
    }
    if (other.defined() && other.sizes() != input.sizes()) {
      throw DataError(fmt::format(
          "{}: {}: expected samples of one shape, found [{}] in '{}', but [{}] in '{}' ({})",
          train.place(row), name, fmt::join(input.sizes(), ", "), train.id(row),
          fmt::join(other.sizes(), ", "), train.id(index), train.place(index)));
    }
  }
  throw RecipeError(fmt::format(
      "{}: modalities.{}.encoder: does not take {} of the shape [{}], such as '{}' ({}): {}",
      recipe.name, name, samples, fmt::join(input.sizes(), ", "), train.id(row), train.place(row),
      message_of(error)));
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
int64_t smallest_batch(const Recipe& recipe, const std::string& manifest, int64_t samples) {
  const TrainingSettings& settings = recipe.settings;
  if (settings.drop_last && samples < settings.batch_size) {
    throw RecipeError(fmt::format(
        "{}: data.batch_size: expected at most {}, the number of training rows of {}, got {}; or "
        "set data.drop_last = false",
        recipe.name, samples, manifest, settings.batch_size));
  }
  const int64_t left = settings.drop_last ? 0 : samples % settings.batch_size;
  return left > 0 ? left : settings.batch_size;
}

/// A module that cuts its feature off (detach, no_grad) would stay as it is without a word.
void expect_gradient(const Recipe& recipe, MultimodalModelImpl& model, size_t m,
                     const torch::Tensor& input) {
  const auto parameters = model.encoder(m).parameters();
  const bool learns = std::any_of(parameters.begin(), parameters.end(),
                                  [](const torch::Tensor& one) { return one.requires_grad(); });
  if (!learns) {
    return;
  }
  const torch::AutoGradMode with_graph(true);
  if (!model.encode(m, input).requires_grad()) {
    throw RecipeError(fmt::format(
        "{}: modalities.{}.encoder: expected a feature from which its parameters learn, got one "
        "that "
        "is cut off from them (by detach or no_grad?); train.freeze = [\"encoders.{}.*\"] says "
        "that they are not to learn",
        recipe.name, recipe.modalities[m].name, recipe.modalities[m].name));
  }
}

/// Runs a sample through the model, twice in a batch. With `single` once, in training mode, where
/// normalisation may refuse it; that changes the model's statistics.
void run_one(MultimodalModelImpl& model, const Recipe& recipe, const ManifestDataSet& train,
             const FirstInputs& first, bool single) {
  const torch::NoGradGuard no_grad;
  if (single) {
    train_unfrozen(model);
  } else {
    model.eval();
  }
  ModalityTensors features(model.size());
  for (size_t m = 0; m < model.size(); ++m) {
    // Two, so that a module which gives one feature for a batch is found out.
    const int64_t count = single ? 1 : std::min<int64_t>(2, recipe.settings.batch_size);
    const torch::Tensor input =
        torch::stack(std::vector<torch::Tensor>(static_cast<size_t>(count), first.inputs[m]))
            .to(recipe.settings.device);
    try {
      features[m] = model.encode(m, input);
      if (!single) {
        expect_gradient(recipe, model, m, input);
      }
    } catch (const c10::Error& error) {
      refuse(recipe, train, first, m,
             single ? "samples one by one, as a batch may hold them (see data.batch_size, "
                      "data.drop_last and missing modalities)"
                    : "samples",
             error);
    }
  }
  try {
    model.fuse(features);
  } catch (const c10::Error& error) {
    throw recipe.fusion_error(fmt::format("does not take these features{}: {}",
                                          single ? " one by one, as a batch may hold them" : "",
                                          message_of(error)));
  }
}

}  // namespace

FirstInputs first_inputs(const ManifestDataSet& train, const Recipe& recipe) {
  const size_t modalities = recipe.modalities.size();
  FirstInputs first{ModalityTensors(modalities), std::vector<size_t>(modalities)};
  for (size_t m = 0; m < modalities; ++m) {
    std::string reason = "none has a cell for it";
    for (size_t index = 0; index < train.size() && !first.inputs[m].defined(); ++index) {
      throw_if_stopped();
      if (!train.has(index, m)) {
        continue;
      }
      try {
        const Sample sample = train.get(index, 0, false);
        for (size_t other = m; other < modalities; ++other) {
          if (!first.inputs[other].defined()) {
            first.inputs[other] = sample.inputs[other];
            first.rows[other] = index;
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
      throw DataError(fmt::format("{}: expected training samples with the modality {}: {}",
                                  train.path(), recipe.modalities[m].name, reason));
    }
  }
  return first;
}

MultimodalModel build_checked_model(const Recipe& recipe, const ManifestDataSet& train,
                                    const FirstInputs& first) {
  const auto samples = static_cast<int64_t>(train.size());
  const bool single = smallest_batch(recipe, train.path(), samples) == 1 ||
                      lacks_modalities(train, recipe.modalities.size());
  MultimodalModel model = recipe.build_model();
  run_one(*model, recipe, train, first, false);
  if (single) {
    run_one(*recipe.build_model(), recipe, train, first, true);
  }
  return model;
}

Recipe read_sized_recipe(const std::string& path, const std::vector<std::string>& overrides) {
  Recipe recipe = read_recipe(path, overrides);
  std::vector<std::string> sizes = overrides;
  std::shared_ptr<ManifestDataSet> train;
  FirstInputs first;
  for (size_t m = 0; m < recipe.modalities.size(); ++m) {
    const ModalityRecipe& modality = recipe.modalities[m];
    const std::string table = fmt::format("modalities.{}.encoder", modality.name);
    Options options = encoder_options(recipe, modality.name);
    if (options.has("checksum") && options.text("checksum").empty()) {
      try {
        sizes.push_back(fmt::format("{}.checksum=\"{}\"", table,
                                    TorchScriptEncoder::checksum_of(options.text("file"))));
      } catch (const Error& error) {
        throw RecipeError(fmt::format("{}: {}.file: {}", recipe.name, table, error.what()));
      }
    }
    if (!options.has("feature_size") || options.integer("feature_size") != 0) {
      continue;
    }
    if (train == nullptr) {
      const auto manifest = recipe.open_manifest(show_generation);
      train = open_required_split(recipe, manifest, Split::kTrain, nullptr);
      first = first_inputs(*train, recipe);
    }
    const torch::NoGradGuard no_grad;
    const auto encoder = modality.encoder();
    encoder->eval();
    try {
      encoder->forward(first.inputs[m].unsqueeze(0));
    } catch (const c10::Error& error) {
      refuse(recipe, *train, first, m, "samples", error);
    }
    sizes.push_back(fmt::format("{}.feature_size={}", table, encoder->feature_size()));
    sizes.push_back(fmt::format("{}.features={}", table, name_of(encoder->feature_kind())));
  }
  return sizes.size() == overrides.size() ? recipe : read_recipe(path, sizes);
}

}  // namespace unbraid
