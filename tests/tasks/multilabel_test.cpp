#include "unbraid/tasks/multilabel.h"

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

const torch::Tensor kLogits = torch::tensor({{2.0, -1.0, 0.5}, {-3.0, 0.25, 40.0}}, torch::kDouble);
const torch::Tensor kTarget = torch::tensor({{1.0F, 0.0F, 0.0F}, {0.0F, 1.0F, 0.0F}});

/// Naive binary cross-entropy, summed over kLogits and kTarget, positives of class c weighing w[c].
double naive_loss(const std::vector<double>& weights) {
  double sum = 0;
  for (int64_t row = 0; row < 2; ++row) {
    for (int64_t column = 0; column < 3; ++column) {
      const double logit = kLogits[row][column].item<double>();
      const double positive = kTarget[row][column].item<double>();
      sum += positive * weights[static_cast<size_t>(column)] * std::log1p(std::exp(-logit)) +
             (1 - positive) * std::log1p(std::exp(logit));
    }
  }
  return sum / 6;
}

TEST(Multilabel, LossIsBinaryCrossEntropy) {
  const Multilabel task({.classes = 3});
  EXPECT_NEAR(task.loss(kLogits, kTarget).item<double>(), naive_loss({1, 1, 1}), 1e-12);
  unbraid::testing::expect_gradient(task, kLogits, kTarget);
  EXPECT_EQ(task.loss(kLogits.to(torch::kBFloat16), kTarget).scalar_type(), torch::kFloat);
}

TEST(Multilabel, PositivesOfAClassMayWeighMore) {
  const Multilabel task({.classes = 3, .pos_weight = {3.0, 0.5, 7.0}});
  EXPECT_NEAR(task.loss(kLogits, kTarget).item<double>(), naive_loss({3, 0.5, 7}), 1e-12);
  unbraid::testing::expect_gradient(task, kLogits, kTarget);
}

TEST(Multilabel, LabelsAreSetsOfNamesOrIntegers) {
  const Multilabel named({.classes = 3, .class_names = {"cat", "big dog", "owl"}});
  EXPECT_TRUE(torch::equal(named.target("owl;cat"), torch::tensor({1.0F, 0.0F, 1.0F})));
  EXPECT_TRUE(torch::equal(named.target("big dog"), torch::tensor({0.0F, 1.0F, 0.0F})));
  EXPECT_TRUE(torch::equal(named.target("-"), torch::zeros(3)));
  const Multilabel numbered({.classes = 12});
  EXPECT_EQ(numbered.target("11;0").nonzero().flatten()[1].item<int64_t>(), 11);
  EXPECT_EQ(numbered.target("-").sum().item<float>(), 0);
}

TEST(Multilabel, OtherLabelsAreErrors) {
  const Multilabel named({.classes = 2, .class_names = {"cat", "dog"}});
  EXPECT_EQ(label_error(named, "cat; dog"),
            "label: expected one of the 2 class names of task.classes, got \" dog\"; did you mean "
            "\"dog\"?");
  EXPECT_EQ(label_error(named, "dog;cat;dog"),
            "label: expected each class once, got \"dog\" twice");
  for (const char* label : {"", "cat;", ";cat", "cat;;dog", "-;cat", "cat|dog", "nan"}) {
    EXPECT_NE(label_error(named, label), "nothing thrown") << label;
  }
  const Multilabel numbered({.classes = 3});
  EXPECT_EQ(label_error(numbered, "0;3"), "label: expected an integer from 0 to 2, got \"3\"");
  for (const char* label : {"", "-1", "1.5", "inf", "99999999999999999999", "0;", "--"}) {
    EXPECT_NE(label_error(numbered, label), "nothing thrown") << label;
  }
}

TEST(Multilabel, PredictionsAreWrittenAsLabels) {
  const Multilabel task({.classes = 2, .class_names = {"cat", "dog"}, .threshold = 0.4});
  EXPECT_EQ(task.prediction_columns(), (Texts{"prediction", "p_cat", "p_dog"}));
  const double at_04 = std::log(0.4 / 0.6);
  const auto rows = task.predictions(
      torch::tensor({{at_04 + 1e-9, 0.0}, {-9.0, at_04 - 1e-6}, {-1.0, 2.0}}, torch::kDouble));
  ASSERT_EQ(rows.size(), 3);
  EXPECT_EQ(rows[0], (Texts{"cat;dog", "0.4", "0.5"}));
  EXPECT_EQ(rows[1], (Texts{"-", "0.000123395", "0.4"}));
  EXPECT_EQ(rows[2], (Texts{"dog", "0.268941", "0.880797"}));
  for (const auto& row : rows) {
    EXPECT_EQ(label_error(task, row.front()), "nothing thrown");
  }
}

TEST(Multilabel, ReadsItsKeys) {
  const auto task = unbraid::testing::task_of({{"type", value("multilabel")},
                                               {"classes", list_of(Texts{"a", "b"})},
                                               {"pos_weight", list_of(std::vector<double>{1, 4})},
                                               {"threshold", value(0.25)}});
  EXPECT_EQ(task->outputs(), 2);
  EXPECT_NEAR(task->loss(torch::zeros({1, 2}), torch::ones({1, 2})).item<double>(),
              2.5 * std::log(2.0), 1e-6);
  EXPECT_EQ(task->predictions(torch::full({1, 2}, -1.0))[0][0], "a;b");
  EXPECT_NE(recipe_error({{"type", value("multilabel")}}).find("classes: expected an integer"),
            std::string::npos);
  for (const Texts& names : {Texts{}, Texts{"a", "a"}, Texts{"a", "-"}, Texts{"a;b"}, Texts{""}}) {
    EXPECT_NE(recipe_error({{"type", value("multilabel")}, {"classes", list_of(names)}})
                  .find("task.classes: expected"),
              std::string::npos);
  }
  EXPECT_EQ(recipe_error({{"type", value("multilabel")},
                          {"classes", value(int64_t{3})},
                          {"pos_weight", list_of(std::vector<double>{1, 4})}}),
            "task.pos_weight: expected 3 weights, one for each class, got 2");
  EXPECT_NE(recipe_error({{"type", value("multilabel")},
                          {"classes", value(int64_t{3})},
                          {"threshold", value(1.5)}})
                .find("task.threshold"),
            std::string::npos);
}

// Class 0, by falling logit: + - + + -, AP = (1/1 + 2/3 + 3/4) / 3. Class 1: the first three are
// equal, of which one is positive, then +: AP = 1/2 * 1/3 + 1/2 * 2/4. Class 2 has no positive.
TEST(MultilabelMetrics, AreThoseComputedByHand) {
  MultilabelMetrics metrics({.classes = 3});
  metrics.update(torch::tensor({{1.0, 2.0, -1.0}, {3.0, 2.0, -1.0}, {-2.0, -1.0, -1.0}}),
                 torch::tensor({{1.0F, 0.0F, 0.0F}, {1.0F, 1.0F, 0.0F}, {0.0F, 1.0F, 0.0F}}));
  metrics.update(torch::tensor({{2.0, 2.0, -1.0}, {-1.0, -2.0, 0.5}}),
                 torch::tensor({{0.0F, 0.0F, 0.0F}, {1.0F, 0.0F, 0.0F}}));
  EXPECT_EQ(metrics.values()[0].first, "mAP");
  EXPECT_FALSE(metrics.smaller_is_better());
  const auto values = by_name(metrics);
  const double first = (1.0 + 2.0 / 3 + 3.0 / 4) / 3;
  const double second = (1.0 / 3 + 2.0 / 4) / 2;
  EXPECT_NEAR(values.at("mAP"), (first + second) / 2, 1e-12);
  // TP 2 1 0, FP 1 2 1, FN 1 1 0.
  EXPECT_NEAR(values.at("macro_f1"), (4.0 / 6 + 2.0 / 5 + 0.0) / 3, 1e-12);
  EXPECT_NEAR(values.at("micro_f1"), 6.0 / (6 + 4 + 2), 1e-12);
  EXPECT_NE(metrics.details().find("1                              2          3      0.4167"),
            std::string::npos)
      << metrics.details();
}

TEST(MultilabelMetrics, TheThresholdDecidesF1Alone) {
  MultilabelMetrics metrics({.classes = 1, .threshold = 0.9});
  metrics.update(torch::tensor({{2.0}, {3.0}}), torch::tensor({{1.0F}, {1.0F}}));
  const auto values = by_name(metrics);
  EXPECT_EQ(values.at("mAP"), 1);
  EXPECT_NEAR(values.at("macro_f1"), 2.0 / 3, 1e-12);  // sigmoid(2) is 0.88
}

// The order of equal scores must not matter: were they taken one by one, it would.
TEST(MultilabelMetrics, EqualScoresAreOneThreshold) {
  MultilabelMetrics metrics({.classes = 1});
  metrics.update(torch::zeros({8, 1}), torch::tensor({1, 0, 0, 0, 1, 0, 0, 0}).view({8, 1}));
  EXPECT_NEAR(by_name(metrics).at("mAP"), 0.25, 1e-12);
}

TEST(MultilabelMetrics, ClassesThatNeverOccurDoNotCount) {
  MultilabelMetrics one({.classes = 3});
  one.update(torch::tensor({{5.0, -5.0, -5.0}}), torch::tensor({{1.0F, 0.0F, 0.0F}}));
  for (const auto& [name, value] : one.values()) {
    EXPECT_EQ(value, 1) << name;
  }
  MultilabelMetrics none({.classes = 2});
  none.update(torch::tensor({{-5.0, -5.0}}), torch::zeros({1, 2}));
  MultilabelMetrics nothing({.classes = 2});
  for (const auto* metrics : {&none, &nothing}) {
    for (const auto& [name, value] : metrics->values()) {
      EXPECT_TRUE(std::isnan(value)) << name;
    }
    EXPECT_NE(metrics->details().find("nan"), std::string::npos);
    EXPECT_EQ(metrics->details().find("-nan"), std::string::npos) << metrics->details();
  }
  MultilabelMetrics not_a_number({.classes = 1});
  not_a_number.update(torch::full({4, 1}, std::nan("")), torch::ones({4, 1}));
  EXPECT_EQ(by_name(not_a_number).at("macro_f1"), 0);
}

}  // namespace
}  // namespace unbraid
