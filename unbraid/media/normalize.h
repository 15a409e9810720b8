#pragma once

#include "unbraid/core/options.h"
#include "unbraid/core/torch.h"

namespace unbraid {

/// How the values of a sample are shifted and scaled.
///
/// Keys: normalize = "none", "sample" (zero mean and unit variance over all values of a sample) or
/// "fixed" (less mean = 0.0, divided by std = 1.0).
class Normalization {
 public:
  explicit Normalization(Options& options);

  [[nodiscard]] torch::Tensor apply(const torch::Tensor& values) const;

 private:
  bool by_sample_ = false;
  double mean_ = 0.0;
  double std_ = 1.0;
};

/// Shifted and scaled to zero mean and unit variance over all its values; a constant becomes zero.
torch::Tensor normalized(const torch::Tensor& values);

}  // namespace unbraid
