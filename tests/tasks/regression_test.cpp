#include "unbraid/tasks/regression.h"

#include <cmath>

#include "tasks/testing.h"

namespace unbraid {
namespace {

using unbraid::testing::by_name;
using unbraid::testing::label_error;
using unbraid::testing::list_of;
using unbraid::testing::recipe_error;
using unbraid::testing::value;
using Texts = std::vector<std::string>;

const torch::Tensor kOutput = torch::tensor({{1.0, -2.0}, {0.25, 4.0}}, torch::kDouble);
const torch::Tensor kTarget = torch::tensor({{0.5F, 1.0F}, {0.5F, 1.5F}});
// Differences: 0.5, -3, -0.25, 2.5.

TEST(Regression, LossesAreThoseComputedByHand) {
  const auto value_of = [](const RegressionLoss& loss) {
    const Regression task({.targets = 2, .loss = loss});
    unbraid::testing::expect_gradient(task, kOutput, kTarget);
    EXPECT_EQ(task.loss(kOutput.to(torch::kBFloat16), kTarget).scalar_type(), torch::kFloat);
    return task.loss(kOutput, kTarget).item<double>();
  };
  EXPECT_NEAR(value_of({.type = RegressionLoss::Type::kL2}), (0.25 + 9 + 0.0625 + 6.25) / 4, 1e-12);
  EXPECT_NEAR(value_of({.type = RegressionLoss::Type::kL1}), (0.5 + 3 + 0.25 + 2.5) / 4, 1e-12);
  EXPECT_NEAR(value_of({.type = RegressionLoss::Type::kHuber, .delta = 2}),
              (0.125 + 2 * (3 - 1) + 0.03125 + 2 * (2.5 - 1)) / 4, 1e-12);
  EXPECT_NEAR(value_of({.type = RegressionLoss::Type::kHuber}), (0.125 + 2.5 + 0.03125 + 2.0) / 4,
              1e-12);
}

TEST(Regression, LabelsAreNumbers) {
  const Regression one({});
  EXPECT_TRUE(torch::equal(one.target("-1.25e1"), torch::tensor({-12.5F})));
  const Regression two({.targets = 2, .mean = {10, 0}, .deviation = {4, 0.5}});
  EXPECT_TRUE(torch::equal(two.target("12;-3"), torch::tensor({0.5F, -6.0F})));
  // A float cannot tell these two apart, but their normalised values.
  const Regression years({.mean = {1.7e9}, .deviation = {10}});
  EXPECT_TRUE(torch::equal(years.target("1700000001"), torch::tensor({0.1F})));
}

TEST(Regression, OtherLabelsAreErrors) {
  const Regression one({});
  EXPECT_EQ(label_error(one, "warm"),
            "label: expected a number such as -1.5 that a float holds, got \"warm\"");
  EXPECT_EQ(label_error(one, "1;2"), "label: expected a number, got 2: \"1;2\"");
  for (const char* label : {"", "nan", "inf", "-inf", "1e39", "1e999", "1.5 ", " 1.5", "1,5"}) {
    EXPECT_NE(label_error(one, label), "nothing thrown") << label;
  }
  const Regression three({.targets = 3});
  EXPECT_EQ(label_error(three, "1;2"),
            "label: expected 3 numbers with \";\" between them, got 2: \"1;2\"");
  EXPECT_NE(label_error(three, "1;;2"), "nothing thrown");
  const Regression narrow({.deviation = {1e-10}});
  EXPECT_EQ(label_error(narrow, "1e30"),
            "label: expected a number of at most 1e+15 after task.mean and task.std, got \"1e30\"");
  EXPECT_NE(label_error(one, "-1e20"), "nothing thrown");  // its square is no float
  EXPECT_EQ(Regression({.deviation = {1e20}}).target("1e30").item<float>(), 1e10F);
}

TEST(Regression, PredictionsAreWrittenAsLabels) {
  const Regression one({.mean = {100}, .deviation = {10}});
  EXPECT_EQ(one.prediction_columns(), Texts{"prediction"});
  EXPECT_EQ(one.predictions(torch::tensor({{0.25F}, {-11.0F}})),
            (std::vector<Texts>{{"102.5"}, {"-10"}}));
  const Regression two({.targets = 2, .target_names = {"x", "y"}});
  EXPECT_EQ(two.prediction_columns(), (Texts{"prediction", "y_x", "y_y"}));
  EXPECT_EQ(two.predictions(torch::tensor({{1.0F, 0.1F}})),
            (std::vector<Texts>{{"1;0.1", "1", "0.1"}}));
}

TEST(Regression, ReadsItsKeys) {
  const auto defaults = unbraid::testing::task_of({{"type", value("regression")}});
  EXPECT_EQ(defaults->outputs(), 1);
  EXPECT_EQ(defaults->loss(torch::full({1, 1}, 3.0), torch::zeros({1, 1})).item<double>(), 9);
  const auto task = unbraid::testing::task_of({{"type", value("regression")},
                                               {"targets", list_of(Texts{"a", "b"})},
                                               {"loss", value("huber")},
                                               {"delta", value(0.5)},
                                               {"mean", list_of(std::vector<double>{1, 2})},
                                               {"std", value(4.0)}});
  EXPECT_TRUE(torch::equal(task->target("5;6"), torch::ones(2)));
  EXPECT_NEAR(task->loss(torch::full({1, 2}, 3.0), torch::zeros({1, 2})).item<double>(), 1.375,
              1e-6);
  EXPECT_EQ(recipe_error({{"type", value("regression")},
                          {"targets", value(int64_t{3})},
                          {"mean", list_of(std::vector<double>{1, 2})}}),
            "task.mean: expected 3 numbers, one for each target, got 2");
  EXPECT_NE(recipe_error({{"type", value("regression")}, {"std", value(0.0)}}).find("task.std"),
            std::string::npos);
  EXPECT_NE(recipe_error({{"type", value("regression")}, {"delta", value(1.0)}}).find("delta"),
            std::string::npos);
}

// Target 0: outputs 1 2 4, targets 2 2 5 (normalised by 10). Target 1: the outputs are all alike.
TEST(RegressionMetrics, AreThoseComputedByHand) {
  RegressionMetrics metrics({.targets = 2, .mean = {50, 0}, .deviation = {10, 1}});
  metrics.update(torch::tensor({{1.0F, 0.1F}, {2.0F, 0.1F}}),
                 torch::tensor({{2.0F, 1.1F}, {2.0F, 0.1F}}));
  metrics.update(torch::tensor({{4.0F, 0.1F}}), torch::tensor({{5.0F, 4.1F}}));
  EXPECT_EQ(metrics.values()[0].first, "mae");
  EXPECT_TRUE(metrics.smaller_is_better());
  const auto values = by_name(metrics);
  EXPECT_NEAR(values.at("mae"), (20.0 / 3 + 5.0 / 3) / 2, 1e-6);
  EXPECT_NEAR(values.at("rmse"), (std::sqrt(200.0 / 3) + std::sqrt(17.0 / 3)) / 2, 1e-6);
  // Centred: outputs -4/3 -1/3 5/3, targets -1 -1 2; products 5, squares 42/9 and 6.
  EXPECT_NEAR(values.at("pearson"), 5 / std::sqrt(42.0 / 9 * 6), 1e-6);
  EXPECT_NE(metrics.details().find("1                             1.6667      2.3805         nan"),
            std::string::npos)
      << metrics.details();
}

TEST(RegressionMetrics, PearsonKeepsItsDigitsFarFromZero) {
  RegressionMetrics metrics({});
  const torch::Tensor x = torch::tensor({1.0, 2.0, 4.0, 3.0}, torch::kDouble).view({4, 1});
  const torch::Tensor y = torch::tensor({2.0, 1.0, 5.0, 4.0}, torch::kDouble).view({4, 1});
  metrics.update(x + 1e9, -y - 1e9);
  // Centred x: -1.5 -0.5 1.5 0.5, y: -1 -2 2 1; products 6, squares 5 and 10.
  EXPECT_NEAR(by_name(metrics).at("pearson"), -6 / std::sqrt(50), 1e-9);
}

TEST(RegressionMetrics, OfLittleAreNotANumber) {
  RegressionMetrics metrics({.targets = 2});
  for (const auto& [name, value] : metrics.values()) {
    EXPECT_TRUE(std::isnan(value)) << name;
  }
  metrics.update(torch::zeros({0, 2}), torch::zeros({0, 2}));
  EXPECT_TRUE(std::isnan(by_name(metrics).at("mae")));
  metrics.update(torch::tensor({{1.0F, 3.0F}}), torch::zeros({1, 2}));
  EXPECT_EQ(by_name(metrics).at("mae"), 2);
  EXPECT_EQ(by_name(metrics).at("rmse"), 2);
  EXPECT_TRUE(std::isnan(by_name(metrics).at("pearson")));
  EXPECT_NE(metrics.details(), "");
  EXPECT_EQ(RegressionMetrics({}).details(), "");
}

}  // namespace
}  // namespace unbraid
