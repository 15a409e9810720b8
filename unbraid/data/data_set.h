#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "unbraid/core/batch.h"

namespace unbraid {

/// One sample, ready for the encoders.
struct Sample {
  ModalityTensors inputs;  // by modality, without the batch dimension; undefined: it has none
  torch::Tensor target;
};

/// Samples by index; thread-safe. Implement this to train on data of your own.
class DataSet {
 public:
  virtual ~DataSet() = default;

  [[nodiscard]] virtual size_t size() const = 0;
  /// The unique name of a sample, of which its random choices are a function.
  [[nodiscard]] virtual const std::string& id(size_t index) const = 0;
  /// `training` turns random augmentation on, which depends on (seed of the set, epoch, id) alone.
  [[nodiscard]] virtual Sample get(size_t index, uint64_t epoch, bool training) const = 0;
  /// Samples that were found unreadable before any was read; they are not among the others.
  [[nodiscard]] virtual const std::vector<SkippedSample>& dropped() const {
    static const std::vector<SkippedSample> kNone;
    return kNone;
  }
};

}  // namespace unbraid
