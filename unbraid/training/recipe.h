#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "unbraid/data/avdigits.h"
#include "unbraid/data/data_hash.h"
#include "unbraid/data/manifest.h"
#include "unbraid/data/manifest_data_set.h"
#include "unbraid/data/rgbd_shapes.h"
#include "unbraid/data/sensors.h"
#include "unbraid/data/tensor_cache.h"
#include "unbraid/media/decoder.h"
#include "unbraid/methods/method.h"
#include "unbraid/models/encoders/encoder.h"
#include "unbraid/models/fusions/fusion.h"
#include "unbraid/models/multimodal_model.h"
#include "unbraid/tasks/task.h"
#include "unbraid/training/encoder_weights.h"
#include "unbraid/training/settings.h"

namespace unbraid {

struct ModalityRecipe {
  std::string name;
  std::string kind;
  std::shared_ptr<const Decoder> decoder;
  EncoderBuilder encoder;
  EncoderWeights weights;
};

/// Everything a run is decided by, checked as far as it can be without opening data.
struct Recipe {
  std::string name;  // its path, for errors
  TrainingSettings settings;
  std::string manifest;                          // path; or instead
  std::optional<AvDigitsOptions> avdigits;       // an embedded data set
  std::optional<SensorsOptions> sensors;         // or this one
  std::optional<RgbdShapesOptions> rgbd_shapes;  // or this one
  std::string cache;                             // folder that keeps decoded samples; empty: none
  double cache_gb = 100;                         // that it may take
  std::vector<ModalityRecipe> modalities;        // those the method trains, in the recipe's order
  bool all_modalities = true;                    // the method trains all that the recipe has
  FusionBuilder fusion;
  /// An error of [fusion], with the recipe's name and line.
  std::function<RecipeError(const std::string& what)> fusion_error;
  std::shared_ptr<const Task> task;
  std::shared_ptr<Method> method;
  std::vector<std::string> freeze;  // patterns of parameters that are not trained
  std::string init;                 // file with initial weights of the whole model; empty: random
  std::string resolved;             // TOML with every default written out and paths absolute

  [[nodiscard]] std::vector<std::string> modality_names() const;
  /// The model on the recipe's device, with initial weights that are a function of the seed and
  /// each parameter's name, and without gradients where it is frozen. Throws RecipeError when the
  /// fusion does not fit the encoders, or a pattern of train.freeze or optimizer.groups matches
  /// nothing.
  [[nodiscard]] MultimodalModel build_model() const;
  /// Loads train.init, or the `weights` of modalities. Returns lines for a person on what was
  /// loaded. Throws StorageError.
  [[nodiscard]] std::vector<std::string> load_initial_weights(MultimodalModelImpl& model) const;
  /// The manifest, generating an embedded data set where it is the source and not there yet.
  /// Without the rows that have none of the modalities that a method picked; where it has all of
  /// them, such a row is a DataError.
  [[nodiscard]] std::shared_ptr<const Manifest> open_manifest(
      const std::function<void(size_t done, size_t total)>& progress = {}) const;
  /// Null without one.
  [[nodiscard]] std::shared_ptr<TensorCache> open_cache() const;
  /// One split, every row checked; null when the manifest has no such rows. What is decoded is kept
  /// in `kept` unless that is null.
  [[nodiscard]] std::shared_ptr<ManifestDataSet> open_split(
      const std::shared_ptr<const Manifest>& manifest, Split split,
      const std::shared_ptr<TensorCache>& kept) const;
  /// Of the manifest and the files behind each modality (and "label", where labels are files).
  [[nodiscard]] DataHash data_hash(const Manifest& manifest) const;
  /// Every row of a manifest without labels, with a target that says nothing.
  [[nodiscard]] std::shared_ptr<ManifestDataSet> open_unlabelled(
      const std::shared_ptr<const Manifest>& manifest,
      const std::shared_ptr<TensorCache>& kept) const;

 private:
  [[nodiscard]] std::vector<DataModality> decoders(const std::shared_ptr<TensorCache>& kept) const;
};

/// Reads a recipe file; `overrides` are `dotted.key=value` with a TOML value, or a bare word that
/// is taken as a string. Throws RecipeError with "file:line: key: expected …, got …".
Recipe read_recipe(const std::string& path, const std::vector<std::string>& overrides = {});

/// The same for a recipe in memory; `name` stands for its path in errors.
Recipe parse_recipe(const std::string& text, const std::string& name,
                    const std::vector<std::string>& overrides = {});

/// A run's recipe with the defaults of keys that its version did not have yet; as it is where it
/// cannot be read, as files that it names are gone.
std::string resolve_again(const std::string& text, const std::string& name);

}  // namespace unbraid
