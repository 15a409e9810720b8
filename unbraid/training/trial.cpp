#include "unbraid/training/trial.h"

#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "unbraid/core/autocast.h"
#include "unbraid/training/training_batches.h"
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
                const Trial& trial, TrainingObserver* observer)
      : parts_(parts),
        model_(*parts.model.ptr()),
        settings_(settings),
        trial_(trial),
        optimizer_(settings.optimizer, model_.named_parameters()),
        batches_(parts.train, settings),
        observer_(observer),
        first_epoch_(from.epoch),
        step_(from.step) {}

  void run() {
    for (int64_t done = 0; done < trial_.epochs; ++done) {
      const auto epoch = static_cast<uint64_t>(first_epoch_ + done);
      batches_.for_each(epoch, model_, [&](TrainingBatch&& given) {
        if (given.batch.size() > 0) {
          backward(to_device(std::move(given.batch), settings_.device), epoch, given.index,
                   given.scale);
        }
        if (given.ends) {
          update();
        }
        if (observer_ != nullptr) {
          observer_->on_trial(first_epoch_ + 1,
                              done * batches_.count() + 1 + static_cast<int64_t>(given.index),
                              trial_.epochs * batches_.count());
        }
      });
    }
    trial_.look();
  }

 private:
  void backward(const Batch& batch, uint64_t epoch, size_t index, double scale) {
    const AutocastGuard precision(settings_.device.type(), settings_.bf16);
    trial_.backward({.model = model_,
                     .batch = batch,
                     .task = *parts_.task,
                     .scale = scale,
                     .seed = settings_.seed,
                     .epoch = static_cast<int64_t>(epoch) + 1,
                     .index = static_cast<int64_t>(index),
                     .count = batches_.count()});
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
    const double lr = learning_rate(settings_.schedule, settings_.optimizer.lr, step_++,
                                    batches_.steps(), settings_.epochs);
    optimizer_.step(lr, clip_factor(norm, settings_.clip_norm));
    optimizer_.zero_grad();
  }

  const TrainingParts& parts_;
  MultimodalModelImpl& model_;
  const TrainingSettings& settings_;
  const Trial& trial_;
  Optimizer optimizer_;
  TrainingBatches batches_;
  TrainingObserver* observer_;
  int64_t first_epoch_;
  int64_t step_;
};

}  // namespace

void run_trial(const TrainingParts& parts, const TrainingSettings& settings, const RunState& from,
               const Trial& trial, TrainingObserver* observer) {
  const KeptWeights kept(*parts.model);
  TrialTraining(parts, settings, from, trial, observer).run();
}

}  // namespace unbraid
