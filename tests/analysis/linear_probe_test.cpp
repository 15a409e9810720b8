#include "unbraid/analysis/linear_probe.h"

#include <gtest/gtest.h>

#include "unbraid/analysis/constant_answer.h"
#include "unbraid/tasks/classification.h"
#include "unbraid/tasks/multilabel.h"
#include "unbraid/tasks/regression.h"
#include "unbraid/tasks/segmentation.h"

namespace unbraid {
namespace {

using torch::Tensor;

constexpr int64_t kSamples = 90;
constexpr int64_t kClasses = 3;

struct Data {
  Tensor features;
  Tensor labels = torch::arange(kSamples) % kClasses;

  /// Features that are close to their class's own, `noise` apart.
  explicit Data(double noise) {
    torch::manual_seed(2);
    const Tensor means = torch::randn({kClasses, 5}, torch::kDouble);
    features = means.index_select(0, labels) + noise * torch::randn({kSamples, 5}, torch::kDouble);
  }
};

double accuracy(const LinearProbe& probe, const Data& data) {
  return (probe.logits(data.features).argmax(1) == data.labels)
      .to(torch::kDouble)
      .mean()
      .item<double>();
}

TEST(LinearProbe, IsAtTheMinimumOfItsFunction) {
  const Data data(1.0);
  const double penalty = 0.01;
  const LinearProbe probe(data.features, data.labels, kClasses, penalty);
  // The conditions of a minimum, which a strictly convex function has at one point alone.
  const Tensor x = (data.features - data.features.mean(0)) / data.features.std(0, false);
  const Tensor residual = (x.matmul(probe.weight().t()) + probe.bias()).softmax(1) -
                          torch::one_hot(data.labels, kClasses);
  const Tensor of_weight = residual.t().matmul(x) / kSamples + penalty * probe.weight();
  EXPECT_LT(of_weight.abs().max().item<double>(), 1e-6);
  EXPECT_LT(residual.mean(0).abs().max().item<double>(), 1e-6);
  EXPECT_GT(probe.weight().abs().max().item<double>(), 0.1);
}

TEST(LinearProbe, FindsClassesThatALineTellsApart) {
  const Data easy(0.01);
  EXPECT_EQ(accuracy(LinearProbe(easy.features, easy.labels, kClasses), easy), 1);
  const Data noise(100.0);
  EXPECT_LT(accuracy(LinearProbe(noise.features, noise.labels, kClasses), noise), 0.7);
}

TEST(LinearProbe, DoesNotDependOnTheScaleOfAFeature) {
  const Data data(0.7);
  const LinearProbe plain(data.features, data.labels, kClasses);
  Data scaled = data;
  scaled.features = data.features * torch::tensor({1e-3, 1.0, 50.0, 1.0, 1e4}) + 7;
  const LinearProbe same(scaled.features, data.labels, kClasses);
  EXPECT_TRUE(
      torch::allclose(plain.logits(data.features), same.logits(scaled.features), 1e-4, 1e-5));
}

TEST(LinearProbe, ConstantFeaturesSayNothing) {
  const Data data(0.7);
  const Tensor constant = torch::full({kSamples, 1}, 0.1, torch::kFloat).to(torch::kDouble);
  const LinearProbe probe(torch::cat({data.features, constant}, 1), data.labels, kClasses);
  EXPECT_EQ(probe.weight().select(1, 5).abs().max().item<double>(), 0);
  const LinearProbe one(data.features.narrow(0, 0, 1), data.labels.narrow(0, 0, 1), kClasses);
  EXPECT_TRUE(one.logits(data.features).isfinite().all().item<bool>());
}

TEST(LinearProbe, DrawsNoRandomNumbers) {
  const Data data(0.7);
  torch::manual_seed(4);
  const Tensor drawn = torch::rand({3});
  torch::manual_seed(4);
  const LinearProbe first(data.features, data.labels, kClasses);
  EXPECT_TRUE(torch::equal(torch::rand({3}), drawn));
  const LinearProbe second(data.features, data.labels, kClasses);
  EXPECT_TRUE(torch::equal(first.weight(), second.weight()));
}

TEST(LinearProbe, TokensAndMapsGiveTheirMean) {
  const Tensor tokens = torch::arange(12, torch::kFloat).view({1, 3, 4});
  EXPECT_TRUE(torch::equal(pooled_feature(tokens), tokens.mean(1)));
  const Tensor maps = torch::arange(16, torch::kFloat).view({1, 4, 2, 2});
  EXPECT_TRUE(torch::equal(pooled_feature(maps), maps.mean({2, 3})));
  EXPECT_EQ(pooled_feature(torch::zeros({2, 7})).sizes(), (std::vector<int64_t>{2, 7}));
}

Tensor answer_of(const Task& task, const std::vector<Tensor>& targets) {
  ConstantAnswer answer(task);
  for (const Tensor& target : targets) {
    answer.add(target);
  }
  return answer.output();
}

TEST(ConstantAnswer, OfClassesIsHowOftenEachIs) {
  const Classification task({.classes = 4});
  std::vector<Tensor> targets;
  for (const int64_t label : {2, 0, 2, 1}) {
    targets.push_back(torch::tensor(label));
  }
  const Tensor answer = answer_of(task, targets);
  EXPECT_EQ(answer.argmax().item<int64_t>(), 2);
  EXPECT_TRUE(torch::allclose(answer.exp(), torch::tensor({0.25, 0.25, 0.5, 0.0}), 1e-5, 1e-6));
  EXPECT_TRUE(answer.isfinite().all().item<bool>());
}

TEST(ConstantAnswer, OfPixelsLeavesOutThoseIgnored) {
  const Segmentation task({.classes = 3, .ignore = 255, .height = 2, .width = 2});
  const Tensor answer =
      answer_of(task, {torch::tensor({{255, 255}, {255, 1}}), torch::tensor({{1, 0}, {255, 255}})});
  EXPECT_EQ(answer.argmax().item<int64_t>(), 1);
  EXPECT_NEAR(answer.exp()[0].item<double>(), 1.0 / 3, 1e-6);
}

TEST(ConstantAnswer, OtherwiseMinimisesTheLoss) {
  const std::vector<Tensor> targets = {torch::tensor({1.0F, 0.0F}), torch::tensor({0.0F, 0.0F}),
                                       torch::tensor({1.0F, 1.0F}), torch::tensor({1.0F, 0.0F})};
  const Regression mean({.targets = 2});
  EXPECT_TRUE(torch::allclose(answer_of(mean, targets), torch::tensor({0.75F, 0.25F}), 0, 1e-5));
  const Multilabel frequency({.classes = 2});
  EXPECT_TRUE(torch::allclose(torch::sigmoid(answer_of(frequency, targets)),
                              torch::tensor({0.75F, 0.25F}), 0, 1e-5));
}

}  // namespace
}  // namespace unbraid
