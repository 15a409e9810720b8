#include "unbraid/training/recipe.h"

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "unbraid/data/cached_decoder.h"
#include "unbraid/media/label_map.h"
#include "unbraid/models/initialisation.h"
#include "unbraid/training/freezing.h"
#include "unbraid/training/weights.h"

namespace unbraid {

std::vector<std::string> Recipe::modality_names() const {
  std::vector<std::string> names;
  for (const ModalityRecipe& modality : modalities) {
    names.push_back(modality.name);
  }
  return names;
}

MultimodalModel Recipe::build_model() const {
  MultimodalModel model;
  FusionShape shape{modality_names(), {}, task->outputs(), {}, {}};
  if (const PixelLabels* labels = task->pixel_labels()) {
    shape.map = {labels->height, labels->width};
  }
  for (const ModalityRecipe& modality : modalities) {
    const auto encoder = modality.encoder();
    if (encoder->feature_size() == 0) {
      throw RecipeError(fmt::format(
          "{}: modalities.{}.encoder.feature_size: expected the size of the feature, got 0", name,
          modality.name));
    }
    shape.feature_sizes.push_back(encoder->feature_size());
    shape.feature_kinds.push_back(encoder->feature_kind());
    model->add_encoder(modality.name, encoder);
  }
  try {
    model->set_fusion(fusion(shape));
  } catch (const RecipeError& error) {
    throw fusion_error(error.what());
  }
  initialise(*model, settings.seed);
  model->to(settings.device);
  prefer_channels_last(*model);
  unbraid::freeze(*model, freeze, name + ": train.freeze");
  assign_groups(settings.optimizer.groups, model->named_parameters().keys(),
                name + ": optimizer.groups");
  return model;
}

std::vector<std::string> Recipe::load_initial_weights(MultimodalModelImpl& model) const {
  std::vector<std::string> lines;
  if (!init.empty()) {
    load_weights(model, init);
    lines.push_back(fmt::format("weights of {}", init));
  }
  for (size_t m = 0; m < modalities.size(); ++m) {
    if (!modalities[m].weights.path.empty()) {
      lines.push_back(
          load_encoder_weights(model.encoder(m), modalities[m].weights, modalities[m].name));
    }
  }
  return lines;
}

std::shared_ptr<const Manifest> Recipe::open_manifest(
    const std::function<void(size_t done, size_t total)>& progress) const {
  const std::string path = avdigits      ? prepare_avdigits(*avdigits, progress)
                           : sensors     ? prepare_sensors(*sensors, progress)
                           : rgbd_shapes ? prepare_rgbd_shapes(*rgbd_shapes, progress)
                                         : manifest;
  auto rows = std::make_shared<Manifest>(Manifest::read(path, modality_names()));
  const auto empty = [](const ManifestRow& row) {
    return std::all_of(row.cells.begin(), row.cells.end(),
                       [](const std::string& cell) { return cell.empty(); });
  };
  if (all_modalities) {
    const auto found = std::find_if(rows->rows.begin(), rows->rows.end(), empty);
    if (found != rows->rows.end()) {
      throw DataError(fmt::format("{}:{}: expected a cell for at least one of {}, all are empty",
                                  path, found->line, fmt::join(modality_names(), ", ")));
    }
  } else {
    std::erase_if(rows->rows, empty);  // samples of the modalities that the method leaves out
  }
  return rows;
}

std::shared_ptr<TensorCache> Recipe::open_cache() const {
  constexpr double kBytesOfGb = 1e9;
  return cache.empty()
             ? nullptr
             : std::make_shared<TensorCache>(cache, static_cast<int64_t>(cache_gb * kBytesOfGb));
}

std::shared_ptr<ManifestDataSet> Recipe::open_split(
    const std::shared_ptr<const Manifest>& rows, Split split,
    const std::shared_ptr<TensorCache>& kept) const {
  const bool any = std::any_of(rows->rows.begin(), rows->rows.end(),
                               [split](const ManifestRow& row) { return row.split == split; });
  if (!any) {
    return nullptr;
  }
  LabelReader label = [task = task](const std::string& text) { return task->target(text); };
  if (const PixelLabels* labels = task->pixel_labels()) {
    label = std::make_shared<const LabelMapDecoder>(*labels);
  }
  return std::make_shared<ManifestDataSet>(rows, split, decoders(kept), label, settings.seed,
                                           settings.skip_damaged);
}

std::shared_ptr<ManifestDataSet> Recipe::open_unlabelled(
    const std::shared_ptr<const Manifest>& rows, const std::shared_ptr<TensorCache>& kept) const {
  return std::make_shared<ManifestDataSet>(
      rows, Split::kTest, decoders(kept),
      [](const std::string& /*label*/) { return torch::zeros({}); }, settings.seed,
      settings.skip_damaged);
}

DataHash Recipe::data_hash(const Manifest& rows) const {
  const std::string folder = std::filesystem::path(rows.path).parent_path().string();
  DataHash hash{rows.hash, {}};
  const auto add = [&](const std::string& column, const Decoder& decoder, const auto& cell_of) {
    std::map<Split, std::vector<std::string>> cells;
    for (const ManifestRow& row : rows.rows) {
      cells[row.split].push_back(cell_of(row));
    }
    for (const auto& [split, of_split] : cells) {
      hash.files[fmt::format("{}/{}", column, name_of(split))] =
          files_hash(of_split, decoder, folder);
    }
  };
  for (size_t m = 0; m < modalities.size(); ++m) {
    add(modalities[m].name, *modalities[m].decoder,
        [&](const ManifestRow& row) { return row.cells.at(m); });
  }
  if (const PixelLabels* labels = task->pixel_labels()) {
    add("label", LabelMapDecoder(*labels), [](const ManifestRow& row) { return row.label; });
  }
  return hash;
}

std::vector<DataModality> Recipe::decoders(const std::shared_ptr<TensorCache>& kept) const {
  std::vector<DataModality> decoders;
  for (const ModalityRecipe& modality : modalities) {
    decoders.push_back({modality.name, modality.decoder});
    if (kept != nullptr) {
      decoders.back().decoder = std::make_shared<CachedDecoder>(modality.decoder, kept);
    }
  }
  return decoders;
}

}  // namespace unbraid
