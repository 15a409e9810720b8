#include "unbraid/training/weight_average.h"

#include <algorithm>

#include "unbraid/training/weights.h"

namespace unbraid {

WeightAverage::WeightAverage(torch::nn::Module& model, double decay)
    : decay_(decay), weights_(weights_of(model)) {
  for (const auto& [name, weight] : weights_) {
    average_.emplace_back(name, weight.clone());
  }
}

void WeightAverage::update(int64_t step) {
  const torch::NoGradGuard no_grad;
  const auto t = static_cast<double>(step);
  const double decay = std::min(decay_, (1 + t) / (10 + t));
  for (size_t i = 0; i < average_.size(); ++i) {
    const torch::Tensor& weight = weights_[i].second;
    torch::Tensor& average = average_[i].second;
    if (weight.is_floating_point()) {
      average.lerp_(weight, 1 - decay);
    } else {
      average.copy_(weight);
    }
  }
}

void WeightAverage::swap() {
  const torch::NoGradGuard no_grad;
  for (size_t i = 0; i < average_.size(); ++i) {
    const torch::Tensor kept = average_[i].second.clone();
    average_[i].second.copy_(weights_[i].second);
    weights_[i].second.copy_(kept);
  }
}

}  // namespace unbraid
