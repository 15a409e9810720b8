#include "unbraid/training/evaluation.h"

#include "unbraid/core/autocast.h"
#include "unbraid/core/error.h"
#include "unbraid/core/stop.h"
#include "unbraid/data/loader.h"

namespace unbraid {
namespace {

/// Collects the scores of one output.
class Scorer {
 public:
  explicit Scorer(const Task& task) : task_(task), metrics_(task.metrics()) {}

  void add(const torch::Tensor& output, const torch::Tensor& target) {
    const auto count = static_cast<double>(target.size(0));
    loss_ += task_.loss(output, target).item<double>() * count;
    samples_ += count;
    metrics_->update(output, target);
  }

  [[nodiscard]] Scores scores() const {
    return {loss_ / samples_, metrics_->values(), metrics_->details()};
  }

 private:
  const Task& task_;
  std::unique_ptr<Metrics> metrics_;
  double loss_ = 0;
  double samples_ = 0;
};

}  // namespace

Batch to_device(Batch batch, torch::Device device) {
  for (torch::Tensor& input : batch.inputs) {
    if (input.defined()) {
      input = input.to(device);
    }
  }
  batch.target = batch.target.to(device);
  return batch;
}

Evaluation evaluate(MultimodalModelImpl& model, const Task& task,
                    const std::shared_ptr<const DataSet>& data, const TrainingSettings& settings,
                    const std::vector<bool>& absent) {
  const torch::NoGradGuard no_grad;
  const AutocastGuard precision(settings.device.type(), settings.bf16);
  model.eval();
  Loader loader(data, {.batch_size = settings.batch_size,
                       .workers = settings.workers,
                       .skip_damaged = settings.skip_damaged,
                       .seed = settings.seed});
  Scorer fused(task);
  std::vector<Scorer> alone;
  for (size_t m = 0; m < model.size(); ++m) {
    alone.emplace_back(task);
  }
  const auto present = [&](size_t m) { return m >= absent.size() || !absent[m]; };
  loader.start(0);
  Evaluation result;
  while (auto next = loader.next()) {
    throw_if_stopped();
    result.skipped.insert(result.skipped.end(), next->skipped.begin(), next->skipped.end());
    if (next->size() == 0) {
      continue;
    }
    const Batch batch = to_device(std::move(*next), settings.device);
    ModalityTensors features(model.size());
    for (size_t m = 0; m < model.size(); ++m) {
      if (present(m)) {
        features[m] = model.encode(m, batch.inputs[m]);
        alone[m].add(model.alone(m, features[m]), batch.target);
      }
    }
    fused.add(model.fuse(features), batch.target);
    result.samples += static_cast<size_t>(batch.size());
  }
  if (result.samples == 0) {
    throw DataError("expected samples to evaluate, none can be read: " +
                    result.skipped.front().reason);
  }
  result.fused = fused.scores();
  for (size_t m = 0; m < model.size(); ++m) {
    result.alone.push_back(present(m) ? alone[m].scores() : Scores());
  }
  return result;
}

}  // namespace unbraid
