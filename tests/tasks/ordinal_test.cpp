#include "unbraid/tasks/ordinal.h"

#include <cmath>

#include "tasks/testing.h"

namespace unbraid {
namespace {

using unbraid::testing::by_name;
using unbraid::testing::label_error;
using unbraid::testing::recipe_error;
using unbraid::testing::value;
using Texts = std::vector<std::string>;

torch::Tensor column(const std::vector<double>& values) {
  return torch::tensor(values, torch::kFloat).view({-1, 1});
}

TEST(Ordinal, LossIsTheDistance) {
  const Ordinal task({});
  const torch::Tensor output = column({1.0, -2.5}).to(torch::kDouble);
  EXPECT_NEAR(task.loss(output, column({3.0, -2.0})).item<double>(), 1.25, 1e-12);
  unbraid::testing::expect_gradient(task, output, column({3.0, -2.0}));
  const Ordinal squared({.loss = {.type = RegressionLoss::Type::kL2}});
  EXPECT_NEAR(squared.loss(output, column({3.0, -2.0})).item<double>(), 4.25 / 2, 1e-12);
}

TEST(Ordinal, LabelsAreScoresOfTheScale) {
  const Ordinal task({});
  EXPECT_TRUE(torch::equal(task.target("-2.6666667"), torch::tensor({-2.6666667F})));
  EXPECT_TRUE(torch::equal(task.target("3"), torch::tensor({3.0F})));
  EXPECT_EQ(label_error(task, "3.1"), "label: expected a score from -3 to 3, got \"3.1\"");
  for (const char* label : {"", "-3.01", "nan", "inf", "1;2", "positive"}) {
    EXPECT_NE(label_error(task, label), "nothing thrown") << label;
  }
}

TEST(Ordinal, PredictionsAreScoresAndLevels) {
  const Ordinal task({});
  EXPECT_EQ(task.prediction_columns(), (Texts{"prediction", "rounded"}));
  EXPECT_EQ(task.predictions(column({-0.25, 1.5, 2.5, 7.0, -3.75})),
            (std::vector<Texts>{
                {"-0.25", "0"}, {"1.5", "2"}, {"2.5", "2"}, {"7", "3"}, {"-3.75", "-3"}}));
}

TEST(Ordinal, ReadsItsKeys) {
  const auto task = unbraid::testing::task_of(
      {{"type", value("ordinal")}, {"low", value(int64_t{1})}, {"high", value(int64_t{5})}});
  EXPECT_EQ(task->outputs(), 1);
  const auto metrics = task->metrics();
  metrics->update(column({4.4, 2.9, 1.0}), column({4.0, 3.0, 2.0}));
  const auto values = by_name(*metrics);
  EXPECT_NEAR(values.at("acc5"), 2.0 / 3, 1e-12);
  EXPECT_NEAR(values.at("acc2_has0"), 2.0 / 3, 1e-12);  // 3 is neutral: 2.9 is on its other side
  EXPECT_EQ(values.at("acc2_non0"), 1);
  EXPECT_NE(recipe_error({{"type", value("ordinal")}, {"high", value(int64_t{-3})}})
                .find("task.low: expected less than task.high (-3), got -3"),
            std::string::npos);
  EXPECT_NE(
      recipe_error({{"type", value("ordinal")}, {"neutral", value(3.5)}}).find("task.neutral"),
      std::string::npos);
}

// Targets and predictions by sample; levels -3 0 0 1 2 against -3 0 -1 2 2, after clipping.
TEST(OrdinalMetrics, AreThoseComputedByHand) {
  OrdinalMetrics metrics({});
  metrics.update(column({-4.0, 0.4, -0.6}), column({-3.0, 0.0, 0.0}));
  metrics.update(column({1.75, -0.1}), column({1.0, 2.0}));
  EXPECT_EQ(metrics.values()[0].first, "mae");
  EXPECT_TRUE(metrics.smaller_is_better());
  const auto values = by_name(metrics);
  EXPECT_NEAR(values.at("mae"), (1 + 0.4 + 0.6 + 0.75 + 2.1) / 5, 1e-6);
  // Levels of the targets -3 0 0 1 2, of the predictions -3 0 -1 2 0.
  EXPECT_NEAR(values.at("acc7"), 2.0 / 5, 1e-12);
  // Not negative: targets - + + + +, predictions - + - + -.
  EXPECT_NEAR(values.at("acc2_has0"), 3.0 / 5, 1e-12);
  EXPECT_NEAR(values.at("f1_has0"), 1.0 / 5 * (2.0 / 4) + 4.0 / 5 * (4.0 / 6), 1e-12);
  // Without the neutral ones, positive: targets - + +, predictions - + -.
  EXPECT_NEAR(values.at("acc2_non0"), 2.0 / 3, 1e-12);
  EXPECT_NEAR(values.at("f1_non0"), 1.0 / 3 * (2.0 / 3) + 2.0 / 3 * (2.0 / 3), 1e-12);
  // Centred predictions (mean -0.51) and targets (mean 0), by hand.
  const std::vector<double> x = {-4.0, 0.4, -0.6, 1.75, -0.1};
  const std::vector<double> y = {-3, 0, 0, 1, 2};
  double products = 0, squares = 0, others = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    products += (x[i] + 0.51) * y[i];
    squares += (x[i] + 0.51) * (x[i] + 0.51);
    others += y[i] * y[i];
  }
  EXPECT_NEAR(values.at("corr"), products / std::sqrt(squares * others), 1e-6);
}

TEST(OrdinalMetrics, AFieldOfNoneIsNotANumber) {
  OrdinalMetrics metrics({});
  for (const auto& [name, value] : metrics.values()) {
    EXPECT_TRUE(std::isnan(value)) << name;
  }
  metrics.update(column({0.1}), column({0.0}));  // neutral, and alone
  const auto values = by_name(metrics);
  EXPECT_NEAR(values.at("mae"), 0.1, 1e-6);
  EXPECT_EQ(values.at("acc7"), 1);
  EXPECT_EQ(values.at("f1_has0"), 1);
  for (const char* name : {"corr", "acc2_non0", "f1_non0"}) {
    EXPECT_TRUE(std::isnan(values.at(name))) << name;
  }
}

TEST(OrdinalMetrics, AClassThatIsNeverPredictedHasF1OfZero) {
  OrdinalMetrics metrics({});
  metrics.update(column({1.0, 1.0, 1.0, 1.0}), column({-1.0, 1.0, 1.0, 1.0}));
  EXPECT_NEAR(by_name(metrics).at("f1_non0"), 3.0 / 4 * (6.0 / 7), 1e-12);
  // A scale whose neutral point no float has.
  OrdinalMetrics fine({.low = 0, .high = 1, .neutral = 0.1});
  fine.update(column({0.1, 0.3}), column({0.1, 0.2}));
  EXPECT_EQ(by_name(fine).at("acc2_has0"), 1);
  EXPECT_EQ(by_name(fine).at("acc2_non0"), 1);
}

}  // namespace
}  // namespace unbraid
