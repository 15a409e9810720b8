#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "unbraid/core/batch.h"
#include "unbraid/data/data_set.h"
#include "unbraid/data/loader.h"
#include "unbraid/models/multimodal_model.h"
#include "unbraid/training/settings.h"

namespace unbraid {

/// A batch of an epoch, still on the CPU; without samples where all of them were skipped.
struct TrainingBatch {
  Batch batch;
  size_t index = 0;   // from 0
  double scale = 1;   // of its loss: one over the batches of its step
  bool ends = false;  // its step: the optimizer's turn
};

/// The batches that a run trains on. Their order and augmentation, and what layers draw (dropout),
/// are functions of the seed and the epoch, so that an epoch can be run again.
class TrainingBatches {
 public:
  /// Throws DataError as Loader does.
  TrainingBatches(std::shared_ptr<const DataSet> train, const TrainingSettings& settings);

  [[nodiscard]] int64_t count() const { return static_cast<int64_t>(loader_.batches()); }
  [[nodiscard]] int64_t steps() const;  // of the optimizer in an epoch
  /// Puts `model` into training mode and walks through `epoch`, from 0.
  void for_each(uint64_t epoch, MultimodalModelImpl& model,
                const std::function<void(TrainingBatch&&)>& use);
  [[nodiscard]] double wait_seconds() const { return loader_.wait_seconds(); }

 private:
  uint64_t seed_;
  int64_t accumulate_;
  Loader loader_;
};

}  // namespace unbraid
