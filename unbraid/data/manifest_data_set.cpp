#include "unbraid/data/manifest_data_set.h"

#include <filesystem>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "unbraid/core/error.h"

namespace unbraid {
namespace {

// Runs `action`; what it says is wrong gets `place` in front.
template <typename Action>
auto at_place(const std::string& place, Action action) {
  try {
    return action();
  } catch (const DataError& error) {
    throw DataError(place + error.what());
  }
}

}  // namespace

ManifestDataSet::ManifestDataSet(std::shared_ptr<const Manifest> manifest, Split split,
                                 std::vector<DataModality> modalities, LabelReader label,
                                 uint64_t seed, bool skip_damaged)
    : manifest_(std::move(manifest)),
      modalities_(std::move(modalities)),
      label_(std::move(label)),
      seed_(seed) {
  const auto* target = std::get_if<0>(&label_);
  for (const ManifestRow& row : manifest_->rows) {
    if (row.cells.size() != modalities_.size()) {
      throw std::invalid_argument("a manifest that was read with other modalities");
    }
    if (row.split != split) {
      continue;
    }
    Entry entry{&row, {}};
    if (target != nullptr) {
      // A label that is none is a mistake in the manifest or the recipe, never damage.
      entry.target = at_place(place_of(row), [&] { return (*target)(row.label); });
    }
    try {
      check_files(row);
    } catch (const DataError& error) {
      if (!skip_damaged) {
        throw;
      }
      dropped_.push_back({row.id, error.what()});
      continue;
    }
    samples_.push_back(std::move(entry));
  }
}

const Decoder* ManifestDataSet::label_decoder() const {
  const auto* decoder = std::get_if<1>(&label_);
  return decoder == nullptr ? nullptr : decoder->get();
}

void ManifestDataSet::check_files(const ManifestRow& row) const {
  for (size_t m = 0; m < modalities_.size(); ++m) {
    if (!row.cells[m].empty()) {
      const DataModality& modality = modalities_[m];
      at_place(place_of(row) + modality.name + ": ",
               [&] { modality.decoder->check(resolved(row.cells[m], *modality.decoder)); });
    }
  }
  if (const Decoder* decoder = label_decoder()) {
    at_place(place_of(row) + "label: ", [&] { decoder->check(resolved(row.label, *decoder)); });
  }
}

bool ManifestDataSet::has(size_t index, size_t modality) const {
  return !samples_.at(index).row->cells.at(modality).empty();
}

const std::string& ManifestDataSet::id(size_t index) const { return samples_.at(index).row->id; }

std::string ManifestDataSet::place(size_t index) const {
  return fmt::format("{}:{}", manifest_->path, samples_.at(index).row->line);
}

torch::Tensor ManifestDataSet::target(size_t index) const {
  return target_of(samples_.at(index), 0, false);
}

Sample ManifestDataSet::get(size_t index, uint64_t epoch, bool training) const {
  const Entry& entry = samples_.at(index);
  const ManifestRow& row = *entry.row;
  Sample sample;
  sample.target = target_of(entry, epoch, training);
  sample.inputs.resize(modalities_.size());
  for (size_t m = 0; m < modalities_.size(); ++m) {
    if (row.cells[m].empty()) {
      continue;
    }
    const DataModality& modality = modalities_[m];
    at_place(place_of(row) + modality.name + ": ", [&] {
      sample.inputs[m] = modality.decoder->load(resolved(row.cells[m], *modality.decoder),
                                                context_of(row, modality.name, epoch, training));
      check_shape(sample.inputs[m], m, row.id);
    });
  }
  return sample;
}

torch::Tensor ManifestDataSet::target_of(const Entry& entry, uint64_t epoch, bool training) const {
  const Decoder* decoder = label_decoder();
  if (decoder == nullptr) {
    return entry.target;
  }
  const ManifestRow& row = *entry.row;
  return at_place(place_of(row) + "label: ", [&] {
    return decoder->load(resolved(row.label, *decoder), context_of(row, "label", epoch, training));
  });
}

SampleContext ManifestDataSet::context_of(const ManifestRow& row, std::string_view modality,
                                          uint64_t epoch, bool training) const {
  return {.seed = seed_, .epoch = epoch, .id = row.id, .modality = modality, .training = training};
}

void ManifestDataSet::expect_shapes(std::vector<InputShape> shapes) {
  if (shapes.size() != modalities_.size()) {
    throw std::invalid_argument("expected a shape for each modality");
  }
  shapes_ = std::move(shapes);
}

void ManifestDataSet::check_shape(const torch::Tensor& input, size_t modality,
                                  const std::string& id) const {
  if (shapes_.empty() || shapes_[modality].whose.empty()) {
    return;
  }
  const InputShape& expected = shapes_[modality];
  if (input.sizes() != at::IntArrayRef(expected.sizes)) {
    throw DataError(fmt::format("expected the shape [{}] of {}, found [{}] in '{}'",
                                fmt::join(expected.sizes, ", "), expected.whose,
                                fmt::join(input.sizes(), ", "), id));
  }
}

std::string ManifestDataSet::resolved(const std::string& cell, const Decoder& decoder) const {
  const std::string folder = std::filesystem::path(manifest_->path).parent_path().string();
  return decoder.resolve(cell, folder);
}

std::string ManifestDataSet::place_of(const ManifestRow& row) const {
  return fmt::format("{}:{}: ", manifest_->path, row.line);
}

}  // namespace unbraid
