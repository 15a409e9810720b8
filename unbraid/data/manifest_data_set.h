#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "unbraid/data/data_set.h"
#include "unbraid/data/manifest.h"
#include "unbraid/media/decoder.h"

namespace unbraid {

/// A modality's name and what turns its cells into tensors.
struct DataModality {
  std::string name;
  std::shared_ptr<const Decoder> decoder;
};

/// What makes a target of a row's label: a function of its text, which throws DataError for what is
/// none, or the decoder of the file that it names.
using LabelReader = std::variant<std::function<torch::Tensor(const std::string& label)>,
                                 std::shared_ptr<const Decoder>>;

/// What the inputs of a modality have to be like.
struct InputShape {
  std::vector<int64_t> sizes;
  std::string whose;  // "the first training sample"; empty: any shape will do
};

/// The samples of one split of a manifest.
class ManifestDataSet final : public DataSet {
 public:
  /// `modalities` in the order of the rows' cells. Checks every row: throws DataError
  /// "manifest.csv:17: …" for a cell that its decoder refuses, or a label that is none; with
  /// `skip_damaged`, a row with a file that is refused is dropped instead. In a sample with an
  /// empty cell that modality is missing. Decodes nothing.
  ManifestDataSet(std::shared_ptr<const Manifest> manifest, Split split,
                  std::vector<DataModality> modalities, LabelReader label, uint64_t seed,
                  bool skip_damaged = false);

  /// From now on `get` throws DataError for a sample whose inputs are not of these shapes, one for
  /// each modality.
  void expect_shapes(std::vector<InputShape> shapes);

  [[nodiscard]] size_t size() const override { return samples_.size(); }
  [[nodiscard]] const std::vector<SkippedSample>& dropped() const override { return dropped_; }
  [[nodiscard]] const std::string& id(size_t index) const override;
  [[nodiscard]] bool has(size_t index, size_t modality) const;
  /// Of the manifest.
  [[nodiscard]] const std::string& path() const { return manifest_->path; }
  /// Where a sample stands: "manifest.csv:17".
  [[nodiscard]] std::string place(size_t index) const;
  /// The target alone, as `get` gives it outside of training.
  [[nodiscard]] torch::Tensor target(size_t index) const;
  /// Throws DataError "manifest.csv:17: audio: …" when a cell, or a label that is a file, cannot be
  /// decoded.
  [[nodiscard]] Sample get(size_t index, uint64_t epoch, bool training) const override;

 private:
  struct Entry {
    const ManifestRow* row;
    torch::Tensor target;  // undefined where labels are files
  };

  void check_files(const ManifestRow& row) const;
  /// Null where labels are texts.
  [[nodiscard]] const Decoder* label_decoder() const;
  [[nodiscard]] torch::Tensor target_of(const Entry& entry, uint64_t epoch, bool training) const;
  [[nodiscard]] SampleContext context_of(const ManifestRow& row, std::string_view modality,
                                         uint64_t epoch, bool training) const;
  /// A cell as its decoder takes it: a path relative to the manifest becomes one that can be
  /// opened.
  [[nodiscard]] std::string resolved(const std::string& cell, const Decoder& decoder) const;
  void check_shape(const torch::Tensor& input, size_t modality, const std::string& id) const;
  /// "manifest.csv:17: ".
  [[nodiscard]] std::string place_of(const ManifestRow& row) const;

  std::shared_ptr<const Manifest> manifest_;
  std::vector<DataModality> modalities_;
  LabelReader label_;
  uint64_t seed_;
  std::vector<Entry> samples_;
  std::vector<SkippedSample> dropped_;
  std::vector<InputShape> shapes_;  // by modality; empty: any
};

}  // namespace unbraid
