#pragma once

#include <nlohmann/json_fwd.hpp>

#include "unbraid/training/evaluation.h"
#include "unbraid/training/run_directory.h"
#include "unbraid/training/trainer.h"

namespace unbraid {

/// As metrics.jsonl has it: loss and metrics of the fused output, "…_alone" of each modality.
nlohmann::json to_json(const Evaluation& evaluation, const MultimodalModelImpl& model);

/// What summary.json says of a run whose best epoch is `best`, before its test: method, seed, what
/// chose the epoch, hashes of data and recipe, versions and machine.
nlohmann::json summary_of(const TrainingParts& parts, const TrainingSettings& settings,
                          const RunState& best, const std::string& recipe_hash);

/// What summary.json says of its test: metrics and confusion matrices.
nlohmann::json test_summary_of(const Evaluation& test, const MultimodalModelImpl& model);

}  // namespace unbraid
