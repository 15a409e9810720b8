#include "unbraid/training/probing.h"

#include <utility>

#include <nlohmann/json.hpp>

#include "unbraid/core/autocast.h"
#include "unbraid/core/stop.h"
#include "unbraid/data/loader.h"
#include "unbraid/training/evaluation.h"

namespace unbraid {

void for_first_batches(const std::shared_ptr<const DataSet>& data, const TrainingSettings& settings,
                       int64_t batches, const std::function<void(const Batch& batch)>& use) {
  const AutocastGuard precision(settings.device.type(), settings.bf16);
  Loader loader(data, {.batch_size = settings.batch_size,
                       .workers = settings.workers,
                       .skip_damaged = settings.skip_damaged,
                       .seed = settings.seed});
  loader.start(0);
  for (int64_t used = 0; used < batches;) {
    auto batch = loader.next();
    if (!batch) {
      return;
    }
    throw_if_stopped();
    if (batch->size() > 0) {
      use(to_device(std::move(*batch), settings.device));
      ++used;
    }
  }
}

std::vector<ModalityGradients> probe_gradients(MultimodalModelImpl& model, const Task& task,
                                               const std::shared_ptr<const DataSet>& data,
                                               const TrainingSettings& settings, int64_t batches) {
  GradientProbe probe(model, task);
  for_first_batches(data, settings, batches, [&](const Batch& batch) { probe.add(batch); });
  return probe.result();
}

nlohmann::json to_json(const std::vector<ModalityGradients>& gradients,
                       const MultimodalModelImpl& model) {
  nlohmann::json modalities = nlohmann::json::object();
  for (size_t m = 0; m < gradients.size(); ++m) {
    const ModalityGradients& of = gradients[m];
    nlohmann::json& to = modalities[model.name(m)];
    to = {{"samples", of.samples},
          {"feature_ratio", of.feature_ratio},
          {"feature_ratio_median", of.feature_ratio_median},
          {"feature_cosine", of.feature_cosine},
          {"share_below_one", of.share_below_one},
          {"encoder_ratio", of.encoder_ratio},
          {"encoder_cosine", of.encoder_cosine}};
    if (of.closed_form) {
      to.update({{"closed_form_ratio", of.closed_form->ratio},
                 {"closed_form_error", of.closed_form->error},
                 {"residual_ratio", of.closed_form->residual_ratio},
                 {"share_surer", of.closed_form->share_surer}});
    }
  }
  return modalities;
}

}  // namespace unbraid
