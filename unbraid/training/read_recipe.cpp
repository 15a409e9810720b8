#include "unbraid/training/recipe.h"

#include <algorithm>
#include <cctype>
#include <stdexcept>

#include <fmt/format.h>

#include "unbraid/core/durable_file.h"
#include "unbraid/training/toml.h"

namespace unbraid {
namespace {

constexpr uint64_t kMaxRecipeBytes = 1 << 20;

torch::Device read_device(Options& options) {
  const std::string name = options.text("device", "cpu");
  if (name == "cpu") {
    return torch::kCPU;
  }
  const bool indexed = name.starts_with("cuda:") && name.size() > 5 && name.size() < 9 &&
                       std::all_of(name.begin() + 5, name.end(), ::isdigit);
  if (name != "cuda" && !indexed) {
    throw options.error("device", "expected \"cpu\", \"cuda\" or \"cuda:N\", got \"" + name + "\"");
  }
  const int index = indexed ? std::stoi(name.substr(5)) : 0;
  if (!torch::cuda::is_available() || index >= static_cast<int>(torch::cuda::device_count())) {
    throw options.error("device", "expected a device of this machine, but there is no " + name);
  }
  return torch::Device(torch::kCUDA, static_cast<torch::DeviceIndex>(index));
}

void read_generated(Options& data, GeneratedSetOptions& read) {
  const auto count = [&](const char* key, int64_t fallback) {
    return data.integer(key, fallback, {.min = 10, .max = 1000000});
  };
  read.seed = static_cast<uint64_t>(data.integer("seed", 0, {.min = 0}));
  read.train = count("train", read.train);
  read.val = count("val", read.val);
  read.test = count("test", read.test);
  read.cache = data.path("cache_folder", "");
}

template <typename Generated>
Generated read_with_difficulty(Options& data) {
  Generated read;
  read_generated(data, read);
  read.difficulty = data.number("difficulty", read.difficulty, {.min = 0, .max = 3});
  return read;
}

SensorsOptions read_sensors(Options& data) {
  SensorsOptions read;
  read_generated(data, read);
  const bool numbers =
      data.choice("target", {"regression", "multilabel"}, "regression") == "regression";
  read.target = numbers ? SensorsOptions::Target::kRegression : SensorsOptions::Target::kMultilabel;
  read.missing = data.number("missing", read.missing, {.min = 0, .max = 0.9});
  return read;
}

void read_data(Options options, Recipe& recipe) {
  TrainingSettings& settings = recipe.settings;
  if (options.has("source")) {
    const std::string source = options.choice("source", {"avdigits", "sensors", "rgbd-shapes"});
    if (options.has("manifest")) {
      throw options.error("manifest", "expected either manifest or source, got both");
    }
    if (source == "avdigits") {
      recipe.avdigits = read_with_difficulty<AvDigitsOptions>(options);
    } else if (source == "rgbd-shapes") {
      recipe.rgbd_shapes = read_with_difficulty<RgbdShapesOptions>(options);
    } else {
      recipe.sensors = read_sensors(options);
    }
  } else {
    recipe.manifest = options.path("manifest");
    if (recipe.manifest.empty()) {
      throw options.error("manifest", "expected the path of a manifest, got \"\"");
    }
  }
  settings.batch_size =
      options.integer("batch_size", settings.batch_size, {.min = 1, .max = 1 << 20});
  settings.workers =
      static_cast<int>(options.integer("workers", settings.workers, {.min = 0, .max = 256}));
  settings.shuffle = options.boolean("shuffle", settings.shuffle);
  settings.drop_last = options.boolean("drop_last", settings.drop_last);
  recipe.cache = options.path("cache", "");
  recipe.cache_gb = options.number("cache_gb", recipe.cache_gb, {.min = 0, .max = 1e6});
  settings.skip_damaged = options.choice("on_error", {"fail", "skip"}, "fail") == "skip";
  settings.max_skipped = options.number("max_skipped", settings.max_skipped, {.min = 0, .max = 1});
  options.finish();
}

std::vector<ModalityRecipe> read_modalities(Options options) {
  std::vector<ModalityRecipe> modalities;
  for (const std::string& name : options.keys()) {
    const bool plain = std::all_of(name.begin(), name.end(), [](unsigned char character) {
      return std::isalnum(character) != 0 || character == '_';
    });
    if (!plain || name.empty() || name == "id" || name == "split" || name == "label") {
      throw options.error(name,
                          "expected a name of letters, digits and _ that is not id, split or "
                          "label");
    }
    Options modality = options.table(name);
    ModalityRecipe read{name, "", make_decoder(modality), {}, read_encoder_weights(modality)};
    read.kind = modality.text("kind");
    Options encoder = modality.table("encoder");
    read.encoder = read_encoder(encoder);
    encoder.finish();
    modality.finish();
    modalities.push_back(std::move(read));
  }
  if (modalities.empty()) {
    throw RecipeError("modalities: expected at least one [modalities.NAME] table, got none");
  }
  return modalities;
}

template <typename Read>
auto read_section(Options& root, const char* key, const Read& read) {
  Options section = root.table(key);
  auto result = read(section);
  section.finish();
  return result;
}

void read_train(Options& options, Recipe& recipe) {
  TrainingSettings& settings = recipe.settings;
  settings.epochs = options.integer("epochs", settings.epochs, {.min = 1, .max = 1000000});
  settings.clip_norm = options.number("clip_norm", settings.clip_norm, {.min = 0});
  settings.accumulate =
      options.integer("accumulate", settings.accumulate, {.min = 1, .max = 1 << 20});
  settings.ema = options.number("ema", settings.ema, {.min = 0, .max = 0.999999});
  if (options.has("freeze")) {
    recipe.freeze = options.texts("freeze");
  }
  if (settings.accumulate > 1 && !recipe.method->accumulates()) {
    throw options.error("accumulate",
                        fmt::format("expected 1 with the method {}, which changes the "
                                    "gradients of each batch, got {}",
                                    recipe.method->name(), settings.accumulate));
  }
  recipe.init = options.path("init", "");
  for (const ModalityRecipe& modality : recipe.modalities) {
    if (!recipe.init.empty() && !modality.weights.path.empty()) {
      throw options.error("init", fmt::format("expected either this, which has the weights of the "
                                              "whole model, or modalities.{}.weights, got both",
                                              modality.name));
    }
  }
}

void read_probe(Options& options, TrainingSettings& settings) {
  const bool gradients = options.boolean("gradients", false);
  const int64_t batches = options.integer("batches", 4, {.min = 1, .max = 1000000});
  settings.probe_batches = gradients ? batches : 0;
}

/// Leaves out what is said of a modality that the method leaves out.
void forget_modality(Recipe& recipe, const std::string& name) {
  const std::string prefix = "encoders." + name + ".";
  std::erase_if(recipe.freeze,
                [&](const std::string& pattern) { return pattern.starts_with(prefix); });
  std::erase_if(recipe.settings.optimizer.groups,
                [&](const ParameterGroup& group) { return group.pattern.starts_with(prefix); });
}

/// The released gated fusion cuts the multimodal loss itself, whatever the route says.
void check_released(const Options& fusion, bool released, const Method& method) {
  if (released && method.route().multimodal_to_encoder.any()) {
    throw fusion.error("released",
                       "expected a method whose multimodal loss reaches no encoder, such "
                       "as dgl, got " +
                           method.name());
  }
}

/// A picture that is cropped or mirrored no longer fits a label that is not. `modalities` is a view
/// of its own: opening a table again would empty what is resolved of it.
void check_still(Options modalities, const Task& task) {
  for (const std::string& name : modalities.keys()) {
    Options modality = modalities.table(name);
    const std::string kind = modality.text("kind");
    if (task.pixel_labels() != nullptr && (kind == "image" || kind == "video") &&
        modality.boolean("augment", true)) {
      throw modality.error("augment",
                           "expected false with the task segmentation, whose labels would not be "
                           "cropped and mirrored alike, got true (the default)");
    }
  }
}

}  // namespace

Recipe parse_recipe(const std::string& text, const std::string& name,
                    const std::vector<std::string>& overrides) {
  Value root_value = parse_toml(text, name);
  for (const std::string& assignment : overrides) {
    apply_override(root_value, assignment);
  }
  Options root(root_value);
  Recipe recipe;
  recipe.name = name;
  recipe.settings.seed = static_cast<uint64_t>(root.integer("seed", 0, {.min = 0}));
  recipe.settings.device = read_device(root);
  recipe.settings.bf16 = root.choice("precision", {"fp32", "bf16"}, "fp32") == "bf16";
  read_data(root.table("data"), recipe);
  recipe.modalities = read_modalities(root.table("modalities"));
  recipe.task = read_section(root, "task", read_task);
  check_still(Options(root_value).table("modalities"), *recipe.task);
  const auto all = recipe.modality_names();
  recipe.method = read_section(root, "method", [&](Options& options) {
    return read_method(options, {all, recipe.task.get()});
  });
  const auto kept = recipe.method->modalities(all);
  recipe.fusion = read_section(root, "fusion", [&](Options& options) {
    auto fusion = read_fusion(options);
    recipe.fusion_error = [options](const std::string& what) {
      return options.error("type", what);
    };
    if (kept.size() > 1 && options.text("type") == "gated") {
      check_released(options, options.boolean("released", false), *recipe.method);
    }
    try {
      return recipe.method->fusion(options.text("type"), fusion);
    } catch (const std::invalid_argument& problem) {
      throw options.error("type", problem.what());
    }
  });
  recipe.settings.optimizer = read_section(root, "optimizer", read_optimizer);
  recipe.settings.schedule = read_section(root, "schedule", [&](Options& options) {
    auto schedule = read_schedule(options);
    const double lr = recipe.settings.optimizer.lr;
    if (schedule.min_lr > lr) {
      throw options.error(
          "min_lr", fmt::format("expected at most optimizer.lr ({}), got {}", lr, schedule.min_lr));
    }
    return schedule;
  });
  read_section(root, "train", [&](Options& options) {
    read_train(options, recipe);
    return 0;
  });
  read_section(root, "probe", [&](Options& options) {
    read_probe(options, recipe.settings);
    return 0;
  });
  recipe.settings.tensorboard = read_section(
      root, "log", [](Options& options) { return options.boolean("tensorboard", false); });
  root.finish();
  recipe.resolved = write_toml(root.resolved());
  recipe.all_modalities = std::erase_if(recipe.modalities, [&](const ModalityRecipe& modality) {
                            const bool left_out =
                                std::find(kept.begin(), kept.end(), modality.name) == kept.end();
                            if (left_out) {
                              forget_modality(recipe, modality.name);
                            }
                            return left_out;
                          }) == 0;
  return recipe;
}

Recipe read_recipe(const std::string& path, const std::vector<std::string>& overrides) {
  std::string text;
  try {
    text = read_whole_file(path, kMaxRecipeBytes);
  } catch (const StorageError& error) {
    throw RecipeError(error.what());
  }
  return parse_recipe(text, path, overrides);
}

std::string resolve_again(const std::string& text, const std::string& name) {
  try {
    return parse_recipe(text, name).resolved;
  } catch (const Error&) {
    return write_toml(parse_toml(text, name));
  }
}

}  // namespace unbraid
