#pragma once

#include <string>
#include <utility>
#include <vector>

#include "unbraid/data/data_set.h"

namespace unbraid {

/// Samples that are in memory already, the rows of tensors; the id of each is its number.
class TensorDataSet final : public DataSet {
 public:
  /// `inputs[m]` [N, …] for each modality, `targets` [N, …] as the task wants them.
  TensorDataSet(std::vector<torch::Tensor> inputs, torch::Tensor targets)
      : inputs_(std::move(inputs)), targets_(std::move(targets)) {
    for (const torch::Tensor& input : inputs_) {
      TORCH_CHECK(input.size(0) == targets_.size(0), "[data] expected ", targets_.size(0),
                  " samples as there are targets, got ", input.size(0));
    }
    for (int64_t row = 0; row < targets_.size(0); ++row) {
      ids_.push_back(std::to_string(row));
    }
  }

  [[nodiscard]] size_t size() const override { return ids_.size(); }
  [[nodiscard]] const std::string& id(size_t index) const override { return ids_.at(index); }
  [[nodiscard]] Sample get(size_t index, uint64_t /*epoch*/, bool /*training*/) const override {
    const auto row = static_cast<int64_t>(index);
    Sample sample{{}, targets_[row]};
    for (const torch::Tensor& input : inputs_) {
      sample.inputs.push_back(input[row]);
    }
    return sample;
  }

 private:
  std::vector<torch::Tensor> inputs_;
  torch::Tensor targets_;
  std::vector<std::string> ids_;
};

}  // namespace unbraid
