#include "unbraid/training/run_summary.h"

#include <nlohmann/json.hpp>

#include "unbraid/core/process.h"
#include "unbraid/training/json_file.h"

namespace unbraid {
namespace {

using nlohmann::json;

/// By whom it is judged: the fused output, then each modality alone. Empty where the task has none.
json confusion_to_json(const Evaluation& evaluation, const MultimodalModelImpl& model) {
  json record = json::object();
  if (!evaluation.fused.confusion.empty()) {
    record["fused"] = evaluation.fused.confusion;
  }
  for (size_t m = 0; m < evaluation.alone.size(); ++m) {
    if (!evaluation.alone[m].confusion.empty()) {
      record["alone"][model.name(m)] = evaluation.alone[m].confusion;
    }
  }
  return record;
}

}  // namespace

json to_json(const Evaluation& evaluation, const MultimodalModelImpl& model) {
  json record{{"loss", evaluation.fused.loss}, {"loss_alone", json::object()}};
  for (const auto& [name, value] : evaluation.fused.metrics) {
    record[name] = value;
  }
  for (size_t m = 0; m < evaluation.alone.size(); ++m) {
    if (evaluation.alone[m].metrics.empty()) {
      continue;
    }
    record["loss_alone"][model.name(m)] = evaluation.alone[m].loss;
    for (const auto& [name, value] : evaluation.alone[m].metrics) {
      record[name + "_alone"][model.name(m)] = value;
    }
  }
  return record;
}

json summary_of(const TrainingParts& parts, const TrainingSettings& settings, const RunState& best,
                const std::string& recipe_hash) {
  const auto metrics = parts.task->metrics();
  json summary{{"method", parts.method->name()},
               {"seed", settings.seed},
               {"epochs", settings.epochs},
               {"best_epoch", best.epoch},
               {"best_by", metrics->values().front().first},
               {"best_is", metrics->smaller_is_better() ? "smallest" : "largest"},
               {"best_val", best.best_value},
               {"recipe_hash", recipe_hash},
               {"versions", {{"unbraid", UNBRAID_VERSION}, {"libtorch", TORCH_VERSION}}},
               {"machine",
                {{"processor", processor_name()},
                 {"cores", available_cores()},
                 {"threads", at::get_num_threads()},
                 {"device", settings.device.str()}}}};
  summary.update(to_json(parts.data_hash));
  return summary;
}

json test_summary_of(const Evaluation& test, const MultimodalModelImpl& model) {
  json summary = to_json(test, model);
  if (json confusion = confusion_to_json(test, model); !confusion.empty()) {
    summary["confusion"] = std::move(confusion);
  }
  return summary;
}

}  // namespace unbraid
