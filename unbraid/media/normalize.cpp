#include "unbraid/media/normalize.h"

#include <algorithm>
#include <cmath>

namespace unbraid {

bool read_normalize(Options& options) {
  return options.choice("normalize", {"none", "sample"}, "none") == "sample";
}

torch::Tensor normalized(const torch::Tensor& values) {
  constexpr double kSmallestDeviation = 1e-8;
  const torch::Tensor centred = values - values.mean(torch::kDouble).to(torch::kFloat);
  const double variance = centred.square().mean(torch::kDouble).item<double>();
  return centred / std::max(std::sqrt(variance), kSmallestDeviation);
}

}  // namespace unbraid
