#pragma once

#include <functional>
#include <memory>
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
  bool smaller_is_better = false;               // of the one that selects
  std::vector<std::vector<int64_t>> confusion;  // as Metrics has it

  [[nodiscard]] double selecting() const { return metrics.front().second; }
  /// Whether `selecting` says that this is better than where it was `other`; anything is better
  /// than NaN.
  [[nodiscard]] bool better_than(double other) const;
};

struct Evaluation {
  Scores fused;
  std::vector<Scores> alone;           // by modality; empty for one that is absent
  size_t samples = 0;                  // that were read; without any there are no scores
  std::vector<SkippedSample> skipped;  // that could not be
};

/// Evaluates every sample of `data` once, in eval mode and without augmentation. Each modality
/// alone is scored on the samples that have it. `absent[m]`: as if modality m did not exist;
/// samples that have no other are then not among the `samples`. Leaves the model in eval mode.
/// Stops at the next sample or encoder when asked to (core/stop.h).
Evaluation evaluate(MultimodalModelImpl& model, const Task& task,
                    const std::shared_ptr<const DataSet>& data, const TrainingSettings& settings,
                    const std::vector<bool>& absent = {});

/// Why an evaluation of `data` has no samples.
std::string why_no_samples(const Evaluation& evaluation, const DataSet& data);

/// The fused output of a model that is given some of its modalities.
struct SubsetScores {
  std::vector<bool> present;  // [M]
  Scores scores;
  size_t samples = 0;  // that are scored: those that have at least one of them
};

/// Evaluates every combination of modalities, each sample by what it has of them: 2^M - 1 rows,
/// from single modalities to all. Encoders run once. Otherwise as `evaluate`; M is at most 12.
///
/// With an output `otherwise` [outputs] that stands for samples which have none of a combination,
/// each row is of all samples, and one without any modality comes first.
std::vector<SubsetScores> evaluate_subsets(MultimodalModelImpl& model, const Task& task,
                                           const std::shared_ptr<const DataSet>& data,
                                           const TrainingSettings& settings,
                                           const torch::Tensor& otherwise = {});

/// Which batches are encoded.
struct EncodedBatches {
  size_t most = 0;           // 0: all, in order
  uint64_t shuffled_by = 0;  // the epoch whose order is taken where there is a `most`
};

/// Batches of `data` with their features, in order, as `evaluate` reads them. Returns the samples
/// that cannot be read.
std::vector<SkippedSample> for_each_encoded(
    MultimodalModelImpl& model, const std::shared_ptr<const DataSet>& data,
    const TrainingSettings& settings,
    const std::function<void(const Batch& batch, const ModalityTensors& features)>& use,
    const std::vector<bool>& absent = {}, EncodedBatches batches = {});

/// model.fuse(features, presence) of a batch that for_each_encoded gave; what the fusion refuses,
/// such as more tokens than it has positions for, is a DataError.
torch::Tensor fuse_checked(MultimodalModelImpl& model, const Batch& batch,
                           const ModalityTensors& features, const Presence& presence);

/// `value`; a NaN, whose sign says nothing, without it, so that it prints as "nan".
double nan_without_sign(double value);

/// Moves a batch to `device`.
Batch to_device(Batch batch, torch::Device device);

}  // namespace unbraid
