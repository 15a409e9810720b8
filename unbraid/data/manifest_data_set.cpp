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

ManifestDataSet::ManifestDataSet(
    std::shared_ptr<const Manifest> manifest, Split split, std::vector<DataModality> modalities,
    const std::function<torch::Tensor(const std::string& label)>& target, uint64_t seed,
    bool skip_damaged)
    : manifest_(std::move(manifest)), modalities_(std::move(modalities)), seed_(seed) {
  for (const ManifestRow& row : manifest_->rows) {
    if (row.cells.size() != modalities_.size()) {
      throw std::invalid_argument("a manifest that was read with other modalities");
    }
    if (row.split != split) {
      continue;
    }
    // A label that is none is a mistake in the manifest or the recipe, never damage.
    Entry entry{&row, at_place(place_of(row), [&] { return target(row.label); })};
    try {
      check_cells(row);
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

void ManifestDataSet::check_cells(const ManifestRow& row) const {
  for (size_t m = 0; m < modalities_.size(); ++m) {
    if (!row.cells[m].empty()) {
      at_place(place_of(row) + modalities_[m].name + ": ",
               [&] { modalities_[m].decoder->check(resolved_cell(row, m)); });
    }
  }
}

bool ManifestDataSet::has(size_t index, size_t modality) const {
  return !samples_.at(index).row->cells.at(modality).empty();
}

const std::string& ManifestDataSet::id(size_t index) const { return samples_.at(index).row->id; }

Sample ManifestDataSet::get(size_t index, uint64_t epoch, bool training) const {
  const Entry& entry = samples_.at(index);
  const ManifestRow& row = *entry.row;
  Sample sample;
  sample.target = entry.target;
  sample.inputs.resize(modalities_.size());
  for (size_t m = 0; m < modalities_.size(); ++m) {
    if (row.cells[m].empty()) {
      continue;
    }
    const DataModality& modality = modalities_[m];
    const SampleContext context{.seed = seed_,
                                .epoch = epoch,
                                .id = row.id,
                                .modality = modality.name,
                                .training = training};
    at_place(place_of(row) + modality.name + ": ", [&] {
      sample.inputs[m] = modality.decoder->load(resolved_cell(row, m), context);
      check_shape(sample.inputs[m], m);
    });
  }
  return sample;
}

void ManifestDataSet::expect_shapes_of(const Sample& sample) {
  shapes_.clear();
  for (const torch::Tensor& input : sample.inputs) {
    TORCH_CHECK(input.defined(), "[data] expected a sample with every modality");
    shapes_.push_back(input.sizes().vec());
  }
}

void ManifestDataSet::check_shape(const torch::Tensor& input, size_t modality) const {
  if (!shapes_.empty() && input.sizes() != shapes_[modality]) {
    throw DataError(fmt::format("expected the shape [{}] of the first training sample, found [{}]",
                                fmt::join(shapes_[modality], ", "),
                                fmt::join(input.sizes(), ", ")));
  }
}

std::string ManifestDataSet::resolved_cell(const ManifestRow& row, size_t modality) const {
  const std::string folder = std::filesystem::path(manifest_->path).parent_path().string();
  return modalities_[modality].decoder->resolve(row.cells[modality], folder);
}

std::string ManifestDataSet::place_of(const ManifestRow& row) const {
  return fmt::format("{}:{}: ", manifest_->path, row.line);
}

}  // namespace unbraid
