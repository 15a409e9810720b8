#pragma once

#include <string>
#include <utility>
#include <vector>

#include "unbraid/data/data_set.h"
#include "unbraid/models/multimodal_model.h"
#include "unbraid/tasks/task.h"
#include "unbraid/training/settings.h"

namespace unbraid {

/// Loss and metrics of one output over a split.
struct Scores {
  double loss = 0;  // mean over the batches, weighted by their samples
  std::vector<std::pair<std::string, double>> metrics;  // the one that selects first
  std::string details;

  [[nodiscard]] double selecting() const { return metrics.front().second; }
};

struct Evaluation {
  Scores fused;
  std::vector<Scores> alone;           // by modality; empty for one that is absent
  size_t samples = 0;                  // that were read
  std::vector<SkippedSample> skipped;  // that could not be
};

/// Evaluates every sample of `data` once, in eval mode and without augmentation. `absent[m]`: as if
/// modality m did not exist. Leaves the model in eval mode. Stops at the next batch when asked to
/// (core/stop.h).
Evaluation evaluate(MultimodalModelImpl& model, const Task& task,
                    const std::shared_ptr<const DataSet>& data, const TrainingSettings& settings,
                    const std::vector<bool>& absent = {});

/// Moves a batch to `device`.
Batch to_device(Batch batch, torch::Device device);

}  // namespace unbraid
