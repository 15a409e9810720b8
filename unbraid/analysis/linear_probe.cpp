#include "unbraid/analysis/linear_probe.h"

#include "unbraid/analysis/minimise.h"

namespace unbraid {

LinearProbe::LinearProbe(const torch::Tensor& features, const torch::Tensor& labels,
                         int64_t classes, double penalty) {
  TORCH_CHECK(features.dim() == 2 && features.size(0) > 0 && labels.dim() == 1 &&
                  labels.size(0) == features.size(0),
              "[linear_probe] expected features [N, d] and labels [N], got ", features.sizes(),
              " and ", labels.sizes());
  const torch::Tensor x = features.detach().to(torch::kCPU, torch::kDouble);
  const torch::Tensor y = labels.to(torch::kCPU);
  mean_ = x.mean(0);
  const torch::Tensor deviation = x.std(0, /*unbiased=*/false);
  constexpr double kRounding = 1e-7;  // of features in float
  scale_ = torch::where(deviation > kRounding * mean_.abs(), deviation.reciprocal(),
                        torch::zeros_like(deviation));
  const torch::Tensor inputs = standardised(x);
  const int64_t size = inputs.size(1);
  const auto loss = [&](const torch::Tensor& point) {  // [classes, d + 1]: the biases last
    const torch::Tensor weight = point.narrow(1, 0, size);
    return torch::cross_entropy_loss(torch::linear(inputs, weight, point.select(1, size)), y) +
           penalty / 2 * weight.square().sum();
  };
  const torch::Tensor point = minimise(torch::zeros({classes, size + 1}, torch::kDouble), loss);
  weight_ = point.narrow(1, 0, size);
  bias_ = point.select(1, size);
}

torch::Tensor LinearProbe::standardised(const torch::Tensor& features) const {
  return (features.detach().to(torch::kCPU, torch::kDouble) - mean_) * scale_;
}

torch::Tensor LinearProbe::logits(const torch::Tensor& features) const {
  return torch::linear(standardised(features), weight_, bias_);
}

torch::Tensor pooled_feature(const torch::Tensor& feature) {
  switch (feature.dim()) {
    case 3:
      return feature.mean(1);
    case 4:
      return feature.mean({2, 3});
    default:
      return feature.flatten(1);
  }
}

}  // namespace unbraid
