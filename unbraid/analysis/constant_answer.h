#pragma once

#include <vector>

#include "unbraid/tasks/task.h"

namespace unbraid {

/// What a model would best answer that sees nothing: one output for every sample, learned from
/// targets alone. Where targets are classes, of samples or of pixels, it is the logarithm of how
/// often each occurs, so that the most frequent one (of several, the first) is predicted; otherwise
/// it minimises the task's loss, as the mean of the targets does for a squared error.
class ConstantAnswer {
 public:
  /// `task` has to outlive this.
  explicit ConstantAnswer(const Task& task) : task_(task) {}

  /// A target of one sample.
  void add(const torch::Tensor& target);
  /// [outputs()], float. At least one target was added.
  [[nodiscard]] torch::Tensor output() const;

 private:
  const Task& task_;
  torch::Tensor counts_;                // [outputs()] double, where targets are classes
  std::vector<torch::Tensor> targets_;  // otherwise
};

}  // namespace unbraid
