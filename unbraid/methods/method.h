#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "unbraid/core/batch.h"
#include "unbraid/core/options.h"
#include "unbraid/core/safetensors.h"
#include "unbraid/models/fusions/fusion.h"
#include "unbraid/models/multimodal_model.h"
#include "unbraid/routing/gradient_route.h"
#include "unbraid/routing/routed_backward.h"
#include "unbraid/tasks/task.h"

namespace unbraid {

/// One batch on its way through training.
struct TrainingStep {
  MultimodalModelImpl& model;  // in training mode, its gradients those of the step so far
  const Batch& batch;          // on the model's device, of one sample or more
  const Task& task;
  double scale = 1.0;  // of every gradient
  uint64_t seed = 0;   // of the run
  int64_t epoch = 1;   // from 1
  int64_t index = 0;   // of the batch within the epoch, from 0
  int64_t count = 1;   // of the epoch's batches
  /// Takes an optimizer step with the gradients so far and leaves them undefined. Not needed after
  /// the last of them, which the trainer takes.
  std::function<void()> update = {};

  /// Of the output of all samples, or of those that have modality `only`.
  [[nodiscard]] torch::Tensor loss(const torch::Tensor& output,
                                   std::optional<size_t> only = std::nullopt) const;
};

/// Which samples a method looks at between two epochs.
struct FeaturePass {
  bool of_val = false;  // else of train
  size_t batches = 0;   // the first so many of the split, shuffled by the epoch; 0: all, in order
};

/// Epochs of training that are taken back: how a method finds out what would come of something.
struct Trial {
  int64_t epochs = 1;
  /// For each batch, as Method::backward; it takes no optimizer steps of its own.
  std::function<RoutedResult(const TrainingStep&)> backward = {};
  /// Sees the model as it is after these epochs.
  std::function<void()> look = {};
};

/// The start of an epoch.
struct EpochStart {
  MultimodalModelImpl& model;
  uint64_t seed = 0;           // of the run
  int64_t epoch = 1;           // about to start, from 1
  int64_t epochs = 1;          // of the run
  int64_t count = 1;           // of batches in an epoch
  const Task* task = nullptr;  // the trainer's is never null
  /// Calls `use` with batches and their features [B_m, …], in eval mode, without graph and without
  /// augmentation.
  std::function<void(const FeaturePass&,
                     const std::function<void(const Batch&, const ModalityTensors&)>& use)>
      for_each_encoded;
  /// Trains from here as the run would, with a new optimizer and by the trial, lets it look, and
  /// puts weights and running statistics back.
  std::function<void(const Trial&)> try_out = {};
};

/// What a method is read for.
struct MethodContext {
  std::vector<std::string> modalities;  // the recipe's, in order
  const Task* task = nullptr;
};

/// A way to train: a rule that yields the route of the next step, or a step of its own.
class Method {
 public:
  virtual ~Method() = default;

  /// As recipes name it.
  [[nodiscard]] virtual std::string name() const = 0;
  /// Which loss trains which part; of methods that choose anew at each step, what they start from.
  [[nodiscard]] virtual GradientRoute route() const = 0;
  /// Which of the recipe's modalities the model is built with.
  [[nodiscard]] virtual std::vector<std::string> modalities(
      const std::vector<std::string>& all) const {
    return all;
  }
  /// The fusion module that is trained where the recipe has `fusion` of the type `type`. Throws
  /// std::invalid_argument where the method is not defined for that.
  [[nodiscard]] virtual FusionBuilder fusion(const std::string& /*type*/,
                                             FusionBuilder fusion) const {
    return fusion;
  }
  /// Whether the gradients of several batches may be added up for one step.
  [[nodiscard]] virtual bool accumulates() const { return true; }

  /// Before each epoch, the first included.
  virtual void begin_epoch(const EpochStart& /*start*/) {}
  /// Forward and backward for one batch: adds to the gradients of the model. The routed pass of
  /// `route()`.
  virtual RoutedResult backward(const TrainingStep& step);

  /// What it chose at the last step, by name, for metrics.jsonl.
  [[nodiscard]] virtual std::map<std::string, double> choices() const { return {}; }
  /// What it remembers from one epoch to the next, for checkpoints, and the way back.
  [[nodiscard]] virtual NamedTensors state() const { return {}; }
  virtual void load_state(const NamedTensors& /*state*/) {}
};

/// The routed pass of `route` for a step, with a rule if there is one.
RoutedResult routed_backward(const TrainingStep& step, const GradientRoute& route,
                             const FeatureRule& rule = {});

/// What `type` may be in a recipe's [method] table.
std::vector<std::string> method_names();

/// Reads `type` and its keys from a recipe's [method] table.
std::shared_ptr<Method> read_method(Options& options, const MethodContext& context);

}  // namespace unbraid
