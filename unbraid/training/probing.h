#pragma once

#include <functional>
#include <memory>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "unbraid/analysis/gradient_probe.h"
#include "unbraid/data/data_set.h"
#include "unbraid/training/settings.h"

namespace unbraid {

/// Calls `use` with the first `batches` batches of `data` that have samples, in order and without
/// augmentation, under the precision of `settings` and on its device. Samples that cannot be read
/// are left out or a DataError, as `settings` says. Stops at the next batch when asked to
/// (core/stop.h).
void for_first_batches(const std::shared_ptr<const DataSet>& data, const TrainingSettings& settings,
                       int64_t batches, const std::function<void(const Batch& batch)>& use);

/// What a GradientProbe measures on these batches. Nothing of the model changes.
std::vector<ModalityGradients> probe_gradients(MultimodalModelImpl& model, const Task& task,
                                               const std::shared_ptr<const DataSet>& data,
                                               const TrainingSettings& settings, int64_t batches);

/// By name of the modality, NaN as null: {"audio": {"feature_ratio": …, …}, …}.
nlohmann::json to_json(const std::vector<ModalityGradients>& gradients,
                       const MultimodalModelImpl& model);

}  // namespace unbraid
