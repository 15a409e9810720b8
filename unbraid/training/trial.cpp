#include "unbraid/training/trial.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "unbraid/core/autocast.h"
#include "unbraid/core/random.h"
#include "unbraid/core/stop.h"
#include "unbraid/data/loader.h"
#include "unbraid/training/freezing.h"
#include "unbraid/training/weights.h"

namespace unbraid {
namespace {

/// Puts parameters and buffers back when it dies.
class KeptWeights {
 public:
  explicit KeptWeights(const torch::nn::Module& module) : weights_(weights_of(module)) {
    for (const auto& [name, weight] : weights_) {
      kept_.push_back(weight.detach().clone());
    }
  }
  ~KeptWeights() {
    const torch::NoGradGuard no_grad;
    for (size_t i = 0; i < kept_.size(); ++i) {
      weights_[i].second.copy_(kept_[i]);
      weights_[i].second.mutable_grad() = torch::Tensor();
    }
  }
  KeptWeights(const KeptWeights&) = delete;
  KeptWeights& operator=(const KeptWeights&) = delete;

 private:
  NamedTensors weights_;
  std::vector<torch::Tensor> kept_;
};

class TrialTraining {
 public:
  TrialTraining(const TrainingParts& parts, const TrainingSettings& settings, const RunState& from,
                const Trial& trial)
      : parts_(parts),
        model_(*parts.model.ptr()),
        settings_(settings),
        trial_(trial),
        optimizer_(settings.optimizer, model_.named_parameters()),
        loader_(parts.train, {.batch_size = settings.batch_size,
                              .workers = settings.workers,
                              .shuffle = settings.shuffle,
                              .drop_last = settings.drop_last,
                              .training = true,
                              .skip_damaged = settings.skip_damaged,
                              .seed = settings.seed}),
        first_epoch_(from.epoch),
        step_(from.step) {}

  void run() {
    for (int64_t epoch = first_epoch_; epoch < first_epoch_ + trial_.epochs; ++epoch) {
      train_epoch(static_cast<uint64_t>(epoch));
    }
    trial_.look();
  }

 private:
  void train_epoch(uint64_t epoch) {
    train_unfrozen(model_);
    torch::manual_seed(RandomStream::of(settings_.seed, epoch, "", "layers").bits());
    loader_.start(epoch);
    const size_t batches = loader_.batches();
    const auto accumulate = static_cast<size_t>(settings_.accumulate);
    for (size_t i = 0; auto batch = loader_.next(); ++i) {
      throw_if_stopped();
      const size_t first_of_step = i - i % accumulate;
      const size_t share = std::min(accumulate, batches - first_of_step);
      if (batch->size() > 0) {
        backward(to_device(std::move(*batch), settings_.device), epoch, i,
                 1.0 / static_cast<double>(share));
      }
      if (i + 1 == first_of_step + share) {
        update();
      }
    }
  }

  void backward(const Batch& batch, uint64_t epoch, size_t index, double scale) {
    const AutocastGuard precision(settings_.device.type(), settings_.bf16);
    trial_.backward({.model = model_,
                     .batch = batch,
                     .task = *parts_.task,
                     .scale = scale,
                     .seed = settings_.seed,
                     .epoch = static_cast<int64_t>(epoch) + 1,
                     .index = static_cast<int64_t>(index),
                     .count = static_cast<int64_t>(loader_.batches())});
  }

  void update() {
    const double norm = gradient_norms(model_).at("");
    if (!std::isfinite(norm)) {
      throw Error(ExitCode::kDiverged,
                  fmt::format("training diverged in a trial of the method {} before epoch {}: the "
                              "gradient is not finite; a lower optimizer.lr or a train.clip_norm "
                              "may help",
                              parts_.method->name(), first_epoch_ + 1));
    }
    const auto accumulate = settings_.accumulate;
    const auto batches = static_cast<int64_t>(loader_.batches());
    const double lr = learning_rate(settings_.schedule, settings_.optimizer.lr, step_++,
                                    (batches + accumulate - 1) / accumulate, settings_.epochs);
    optimizer_.step(lr, clip_factor(norm, settings_.clip_norm));
    optimizer_.zero_grad();
  }

  const TrainingParts& parts_;
  MultimodalModelImpl& model_;
  const TrainingSettings& settings_;
  const Trial& trial_;
  Optimizer optimizer_;
  Loader loader_;
  int64_t first_epoch_;
  int64_t step_;
};

}  // namespace

void run_trial(const TrainingParts& parts, const TrainingSettings& settings, const RunState& from,
               const Trial& trial) {
  const KeptWeights kept(*parts.model);
  TrialTraining(parts, settings, from, trial).run();
}

}  // namespace unbraid
