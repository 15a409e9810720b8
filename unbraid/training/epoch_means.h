#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "unbraid/models/multimodal_model.h"
#include "unbraid/routing/routed_backward.h"

namespace unbraid {

/// Means over the batches of one epoch of training.
class EpochMeans {
 public:
  explicit EpochMeans(size_t modalities) : alone_(modalities) {}

  /// The losses of a batch of so many samples.
  void add(const RoutedResult& result, int64_t samples);
  /// Of the gradient of a step, by part of the model, "" for all of it.
  void add_norms(const std::map<std::string, double>& norms);

  [[nodiscard]] int64_t samples() const { return samples_; }
  /// The multimodal loss, or the sum of the unimodal ones where the method has no other.
  [[nodiscard]] double loss() const;
  /// As metrics.jsonl has it: loss, loss_alone, gradient_norm.
  [[nodiscard]] nlohmann::json to_json(const MultimodalModelImpl& model) const;

 private:
  struct Mean {
    double sum = 0;
    int64_t count = 0;

    void add(const torch::Tensor& value) {
      if (value.defined()) {
        sum += value.item<double>();
        ++count;
      }
    }
    [[nodiscard]] double mean() const { return sum / static_cast<double>(count); }
  };

  Mean loss_;
  std::vector<Mean> alone_;
  std::map<std::string, double> norms_;
  int64_t steps_ = 0;
  int64_t samples_ = 0;
};

}  // namespace unbraid
