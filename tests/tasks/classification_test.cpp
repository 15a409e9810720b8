#include "unbraid/tasks/classification.h"

#include <cmath>

#include <gtest/gtest.h>

namespace unbraid {
namespace {

const torch::Tensor kLogits = torch::tensor({{2.0, 0.0, -1.0}, {0.5, 0.5, 3.0}}, torch::kDouble);
const torch::Tensor kTarget = torch::tensor({0, 1});

/// -log softmax of one row, by hand.
double surprise(const std::vector<double>& logits, size_t index) {
  double sum = 0;
  for (const double logit : logits) {
    sum += std::exp(logit);
  }
  return std::log(sum) - logits[index];
}

TEST(Classification, LossIsCrossEntropy) {
  const Classification task({.classes = 3});
  const double expected = (surprise({2, 0, -1}, 0) + surprise({0.5, 0.5, 3}, 1)) / 2;
  EXPECT_NEAR(task.loss(kLogits, kTarget).item<double>(), expected, 1e-12);
  EXPECT_EQ(task.loss(kLogits.to(torch::kBFloat16), kTarget).scalar_type(), torch::kFloat);
}

TEST(Classification, ClassWeightsWeighTheMean) {
  const Classification task({.classes = 3, .class_weights = {2.0, 0.5, 1.0}});
  const double expected = (2.0 * surprise({2, 0, -1}, 0) + 0.5 * surprise({0.5, 0.5, 3}, 1)) / 2.5;
  EXPECT_NEAR(task.loss(kLogits, kTarget).item<double>(), expected, 1e-12);
}

TEST(Classification, LabelSmoothingSpreadsTheTarget) {
  const Classification task({.classes = 3, .label_smoothing = 0.3});
  const auto smoothed = [](const std::vector<double>& logits, size_t target) {
    double loss = 0;
    for (size_t c = 0; c < 3; ++c) {
      loss += (0.1 + (c == target ? 0.7 : 0.0)) * surprise(logits, c);
    }
    return loss;
  };
  const double expected = (smoothed({2, 0, -1}, 0) + smoothed({0.5, 0.5, 3}, 1)) / 2;
  EXPECT_NEAR(task.loss(kLogits, kTarget).item<double>(), expected, 1e-12);
}

TEST(Classification, LabelsAreIntegersInRangeOrNames) {
  const Classification numbered({.classes = 3});
  EXPECT_EQ(numbered.target("2").item<int64_t>(), 2);
  for (const char* label : {"3", "-1", "", "1.0", "1 ", "two", "99999999999999999999"}) {
    EXPECT_THROW(static_cast<void>(numbered.target(label)), DataError) << label;
  }
  const Classification named({.classes = 2, .class_names = {"cat", "dog"}});
  EXPECT_EQ(named.target("dog").item<int64_t>(), 1);
  try {
    static_cast<void>(named.target("dig"));
    FAIL();
  } catch (const DataError& error) {
    EXPECT_STREQ(
        error.what(),
        "label: expected one of the 2 class names of task.classes, got \"dig\"; did you mean "
        "\"dog\"?");
  }
}

// Targets 0 0 1 1 2, predictions 0 1 1 1 0: TP 1 2 0, FP 1 1 0, FN 1 0 1.
TEST(ClassificationMetrics, AreThoseComputedByHand) {
  ClassificationMetrics metrics(4);
  metrics.update(torch::tensor({{9., 0., 0., 0.}, {0., 9., 0., 0.}}), torch::tensor({0, 0}));
  metrics.update(torch::tensor({{0., 9., 0., 0.}, {0., 9., 0., 0.}, {9., 0., 0., 0.}}),
                 torch::tensor({1, 1, 2}));
  const auto values = metrics.values();
  ASSERT_EQ(values[0].first, "accuracy");
  EXPECT_DOUBLE_EQ(values[0].second, 3.0 / 5);
  ASSERT_EQ(values[1].first, "macro_f1");
  // Class 3 never occurs and does not count.
  EXPECT_DOUBLE_EQ(values[1].second, (2.0 / 4 + 4.0 / 5 + 0.0) / 3);
  EXPECT_TRUE(
      torch::equal(metrics.confusion_matrix(),
                   torch::tensor({{1, 1, 0, 0}, {0, 2, 0, 0}, {1, 0, 0, 0}, {0, 0, 0, 0}})));
  EXPECT_EQ(metrics.confusion(), (std::vector<std::vector<int64_t>>{
                                     {1, 1, 0, 0}, {0, 2, 0, 0}, {1, 0, 0, 0}, {0, 0, 0, 0}}));
  EXPECT_NE(metrics.details().find("     1     1     0     0\n"), std::string::npos);
}

TEST(ClassificationMetrics, OfManyClassesNeedNoMatrix) {
  ClassificationMetrics metrics(1 << 20);
  torch::Tensor output = torch::zeros({2, 1 << 20});
  output[0][12345] = 1;
  output[1][7] = 1;
  metrics.update(output, torch::tensor({12345, 8}));
  EXPECT_DOUBLE_EQ(metrics.values()[0].second, 0.5);
  EXPECT_DOUBLE_EQ(metrics.values()[1].second, 1.0 / 3);
  EXPECT_EQ(metrics.details(), "");
  EXPECT_TRUE(metrics.confusion().empty());
  EXPECT_EQ(ClassificationMetrics(100).confusion().size(), 100);
  EXPECT_TRUE(ClassificationMetrics(101).confusion().empty());
}

TEST(ClassificationMetrics, OfNothingAreNotANumber) {
  EXPECT_TRUE(std::isnan(ClassificationMetrics(2).values()[0].second));
}

}  // namespace
}  // namespace unbraid
