#pragma once

#include <cstdint>

#include "unbraid/core/safetensors.h"
#include "unbraid/core/torch.h"

namespace unbraid {

/// An exponential moving average of the weights of a model: after step t (from 1)
///
///   average = d * average + (1 - d) * weights,  d = min(decay, (1 + t) / (10 + t)),
///
/// so that the first steps do not stay in it (TensorFlow's ExponentialMovingAverage has the same
/// rule). Parameters and floating-point buffers (running statistics) are averaged; other buffers
/// are copied.
class WeightAverage {
 public:
  /// Starts at the weights that `model` has, which must outlive this.
  WeightAverage(torch::nn::Module& model, double decay);

  /// Takes in the weights after step `step`.
  void update(int64_t step);
  /// By the names of the model's weights.
  [[nodiscard]] const NamedTensors& weights() const { return average_; }
  /// Exchanges the average and the weights of the model.
  void swap();

 private:
  double decay_;
  NamedTensors weights_;  // of the model itself
  NamedTensors average_;
};

/// While it lives, the model has its averaged weights; without an average nothing changes.
class AveragedWeights {
 public:
  explicit AveragedWeights(WeightAverage* average) : average_(average) { swap(); }
  ~AveragedWeights() { swap(); }
  AveragedWeights(const AveragedWeights&) = delete;
  AveragedWeights& operator=(const AveragedWeights&) = delete;

 private:
  void swap() {
    if (average_ != nullptr) {
      average_->swap();
    }
  }

  WeightAverage* average_;
};

}  // namespace unbraid
