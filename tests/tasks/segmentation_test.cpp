#include "unbraid/tasks/segmentation.h"

#include <cmath>

#include <gtest/gtest.h>

#include "tasks/testing.h"

namespace unbraid {
namespace {

using namespace unbraid::testing;  // NOLINT(google-build-using-namespace)

Segmentation make_task(int64_t ignore = 255, std::vector<double> weights = {}) {
  return Segmentation({.classes = 3,
                       .ignore = ignore,
                       .height = 2,
                       .width = 2,
                       .class_weights = std::move(weights)});
}

// [1, 3, 2, 2]: the logits of the pixels (0, 0), (0, 1), (1, 0), (1, 1), by class.
const torch::Tensor kLogits =
    torch::tensor({2.0, 0.5, 0.0, 1.0, 0.0, 0.5, 4.0, 1.0, -1.0, 3.0, 0.0, 2.0}, torch::kDouble)
        .view({1, 3, 2, 2});
const torch::Tensor kTarget = torch::tensor({0, 1, 255, 2}).view({1, 2, 2});

double surprise(const std::vector<double>& logits, size_t index) {
  double sum = 0;
  for (const double logit : logits) {
    sum += std::exp(logit);
  }
  return std::log(sum) - logits[index];
}

const double kFirst = surprise({2, 0, -1}, 0);
const double kSecond = surprise({0.5, 0.5, 3}, 1);
const double kFourth = surprise({1, 1, 2}, 2);

TEST(Segmentation, LossIsTheMeanCrossEntropyOfPixelsThatCount) {
  EXPECT_NEAR(make_task().loss(kLogits, kTarget).item<double>(), (kFirst + kSecond + kFourth) / 3,
              1e-12);
  EXPECT_NEAR(make_task(255, {2.0, 0.5, 1.0}).loss(kLogits, kTarget).item<double>(),
              (2.0 * kFirst + 0.5 * kSecond + kFourth) / 3.5, 1e-12);
  EXPECT_EQ(make_task().loss(kLogits.to(torch::kBFloat16), kTarget).scalar_type(), torch::kFloat);
  // A class may be the one that is ignored.
  EXPECT_NEAR(make_task(0).loss(kLogits, kTarget.masked_fill(kTarget == 255, 0)).item<double>(),
              (kSecond + kFourth) / 2, 1e-12);
}

TEST(Segmentation, LossOfIgnoredPixelsAloneIsZeroWithoutGradient) {
  const torch::Tensor logits = kLogits.clone().set_requires_grad(true);
  const torch::Tensor loss = make_task().loss(logits, torch::full_like(kTarget, 255));
  EXPECT_EQ(loss.item<double>(), 0.0);
  loss.backward();
  EXPECT_TRUE(torch::equal(logits.grad(), torch::zeros_like(kLogits)));
}

torch::Tensor logits_of(const torch::Tensor& classes, int64_t count) {
  return torch::one_hot(classes, count).permute({0, 3, 1, 2}).to(torch::kFloat);
}

// Targets      0 0 1 | 1 . 2     predictions  0 1 1 | 1 2 0
// TP 1 2 0, FP 1 1 0 (the ignored one does not count), FN 1 0 1; the fourth class never occurs.
TEST(SegmentationMetrics, AreThoseComputedByHand) {
  SegmentationMetrics metrics({.classes = 4});
  metrics.update(logits_of(torch::tensor({{{0, 1, 1}}}), 4), torch::tensor({{{0, 0, 1}}}));
  metrics.update(logits_of(torch::tensor({{{1, 2, 0}}}), 4), torch::tensor({{{1, 255, 2}}}));
  const auto values = metrics.values();
  ASSERT_EQ(values.size(), 2);
  EXPECT_EQ(values[0].first, "miou");
  EXPECT_DOUBLE_EQ(values[0].second, (1.0 / 3 + 2.0 / 3 + 0.0) / 3);
  EXPECT_EQ(values[1].first, "accuracy");
  EXPECT_DOUBLE_EQ(values[1].second, 3.0 / 5);
  EXPECT_TRUE(std::isnan(metrics.iou()[3].item<double>()));
  EXPECT_EQ(metrics.details(),
            "IoU of each class that occurs\n"
            "0                         0.3333\n"
            "1                         0.6667\n"
            "2                         0.0000\n");
}

TEST(SegmentationMetrics, OfNothingAreNotANumber) {
  SegmentationMetrics metrics({.classes = 3});
  metrics.update(logits_of(torch::tensor({{{0, 1}}}), 3), torch::tensor({{{255, 255}}}));
  for (const auto& [name, value] : metrics.values()) {
    EXPECT_TRUE(std::isnan(value)) << name;
  }
}

TEST(Segmentation, PredictionsAreTheClassOfMostPixelsAndEveryShare) {
  const Segmentation task(
      {.classes = 3, .class_names = {"sky", "road", "car"}, .height = 2, .width = 2});
  EXPECT_EQ(task.prediction_columns(),
            (std::vector<std::string>{"prediction", "share_sky", "share_road", "share_car"}));
  const auto rows =
      task.predictions(logits_of(torch::tensor({{{2, 0}, {2, 2}}, {{1, 1}, {1, 1}}}), 3));
  using Rows = std::vector<std::vector<std::string>>;
  EXPECT_EQ(rows, (Rows{{"car", "0.250000", "0.000000", "0.750000"},
                        {"road", "0.000000", "1.000000", "0.000000"}}));
}

TEST(Segmentation, TakesANumberOrNamesASideOrTwo) {
  const auto square = task_of({{"type", value("segmentation")},
                               {"classes", value(int64_t{5})},
                               {"size", value(int64_t{48})},
                               {"ignore", value(int64_t{-1})}});
  EXPECT_EQ(square->pixel_labels()->classes, 5);
  EXPECT_EQ(square->pixel_labels()->height, 48);
  EXPECT_EQ(square->pixel_labels()->width, 48);
  EXPECT_EQ(square->pixel_labels()->ignore, -1);
  const auto named = task_of({{"type", value("segmentation")},
                              {"classes", list_of<std::string>({"sky", "road"})},
                              {"size", list_of<int64_t>({16, 24})}});
  EXPECT_EQ(named->outputs(), 2);
  EXPECT_EQ(named->prediction_columns().back(), "share_road");
  EXPECT_EQ(named->pixel_labels()->height, 16);
  EXPECT_EQ(named->pixel_labels()->width, 24);
}

TEST(Segmentation, RefusesWhatMakesNoSense) {
  const auto refused = [](const Value& classes, const Value& size, const Value& weights) {
    return recipe_error({{"type", value("segmentation")},
                         {"classes", classes},
                         {"size", size},
                         {"class_weights", weights}}) != "nothing thrown";
  };
  const Value three = value(int64_t{3});
  const Value side = value(int64_t{16});
  const Value none = value(Value::List{});
  EXPECT_FALSE(refused(three, side, none));
  EXPECT_TRUE(refused(value(int64_t{1}), side, none));
  EXPECT_TRUE(refused(value(int64_t{4097}), side, none));
  std::vector<std::string> names;
  for (int i = 0; i < 4097; ++i) {
    names.push_back(std::to_string(i));
  }
  EXPECT_TRUE(refused(list_of(names), side, none));
  names.pop_back();
  EXPECT_FALSE(refused(list_of(names), side, none));
  EXPECT_TRUE(refused(three, list_of<int64_t>({16, 24, 3}), none));
  EXPECT_TRUE(refused(three, value(int64_t{0}), none));
  EXPECT_TRUE(refused(three, side, list_of<double>({1, 2})));
}

}  // namespace
}  // namespace unbraid
