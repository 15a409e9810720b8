#include "unbraid/media/normalize.h"

#include <algorithm>
#include <cmath>

namespace unbraid {

Normalization::Normalization(Options& options) {
  const std::string kind = options.choice("normalize", {"none", "sample", "fixed"}, "none");
  by_sample_ = kind == "sample";
  if (kind == "fixed") {
    mean_ = options.number("mean", 0.0);
    std_ = options.number("std", 1.0, {.min = 0, .open_min = true});
  }
}

torch::Tensor Normalization::apply(const torch::Tensor& values) const {
  if (by_sample_) {
    return normalized(values);
  }
  return mean_ == 0.0 && std_ == 1.0 ? values : (values - mean_) / std_;
}

torch::Tensor normalized(const torch::Tensor& values) {
  constexpr double kSmallestDeviation = 1e-8;
  const torch::Tensor centred = values - values.mean(torch::kDouble).to(torch::kFloat);
  const double variance = centred.square().mean(torch::kDouble).item<double>();
  return centred / std::max(std::sqrt(variance), kSmallestDeviation);
}

}  // namespace unbraid
