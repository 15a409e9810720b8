#include "unbraid/training/weight_average.h"

#include <gtest/gtest.h>

namespace unbraid {
namespace {

torch::Tensor averaged(const WeightAverage& average, const std::string& name) {
  for (const auto& [key, tensor] : average.weights()) {
    if (key == name) {
      return tensor;
    }
  }
  return {};
}

TEST(WeightAverage, FollowsItsFormula) {
  torch::nn::BatchNorm1d norm(2);
  const torch::NoGradGuard no_grad;
  norm->weight.fill_(2.0);
  WeightAverage average(*norm, 0.25);
  double weight = 2.0;
  double mean = 0.0;
  for (int step = 1; step <= 6; ++step) {
    norm->weight.fill_(step * step);
    norm->running_mean.fill_(-step);
    norm->num_batches_tracked.fill_(step);
    average.update(step);
    const double decay = std::min(0.25, (1.0 + step) / (10.0 + step));  // 2/11, 3/12, then 0.25
    weight = decay * weight + (1 - decay) * step * step;
    mean = decay * mean - (1 - decay) * step;
    EXPECT_NEAR(averaged(average, "weight")[0].item<double>(), weight, 1e-5) << step;
    EXPECT_NEAR(averaged(average, "running_mean")[1].item<double>(), mean, 1e-5) << step;
    EXPECT_EQ(averaged(average, "num_batches_tracked").item<int64_t>(), step);
  }
  EXPECT_EQ(norm->weight[0].item<double>(), 36.0);
}

TEST(WeightAverage, WeightsThatStayAreTheirAverageBitForBit) {
  torch::nn::Linear linear(7, 5);
  WeightAverage average(*linear, 0.999);
  for (int step = 1; step <= 50; ++step) {
    average.update(step);
  }
  EXPECT_TRUE(torch::equal(averaged(average, "weight"), linear->weight));
}

TEST(AveragedWeights, AreInTheModelWhileItLives) {
  torch::nn::Linear linear(3, 2);
  const torch::Tensor before = linear->weight.detach().clone();
  WeightAverage average(*linear, 0.5);
  {
    const torch::NoGradGuard no_grad;
    linear->weight.add_(1.0);
  }
  const torch::Tensor trained = linear->weight.detach().clone();
  try {
    const AveragedWeights in_use(&average);
    EXPECT_TRUE(torch::equal(linear->weight, before));
    EXPECT_TRUE(linear->weight.requires_grad());
    throw std::runtime_error("a loss that is no number");
  } catch (const std::runtime_error&) {
    EXPECT_TRUE(torch::equal(linear->weight, trained));
  }
  EXPECT_TRUE(torch::equal(averaged(average, "weight"), before));
  const AveragedWeights none(nullptr);
  EXPECT_TRUE(torch::equal(linear->weight, trained));
}

}  // namespace
}  // namespace unbraid
