#include "unbraid/tasks/segmentation.h"

#include <cmath>

#include <gtest/gtest.h>

namespace unbraid {
namespace {

Segmentation make_task(int64_t ignore = 255, std::vector<double> weights = {}) {
  return Segmentation({.classes = {3},
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
  SegmentationMetrics metrics({4}, 255);
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
  SegmentationMetrics metrics({3}, 255);
  metrics.update(logits_of(torch::tensor({{{0, 1}}}), 3), torch::tensor({{{255, 255}}}));
  for (const auto& [name, value] : metrics.values()) {
    EXPECT_TRUE(std::isnan(value)) << name;
  }
}

TEST(Segmentation, PredictionsAreTheClassOfMostPixelsAndEveryShare) {
  const Segmentation task({.classes = {3, {"sky", "road", "car"}}, .height = 2, .width = 2});
  EXPECT_EQ(task.prediction_columns(),
            (std::vector<std::string>{"prediction", "share_sky", "share_road", "share_car"}));
  const auto rows =
      task.predictions(logits_of(torch::tensor({{{2, 0}, {2, 2}}, {{1, 1}, {1, 1}}}), 3));
  using Rows = std::vector<std::vector<std::string>>;
  EXPECT_EQ(rows, (Rows{{"car", "0.250000", "0.000000", "0.750000"},
                        {"road", "0.000000", "1.000000", "0.000000"}}));
}

class Read : public ::testing::Test {
 protected:
  void set(const std::string& key, decltype(Value::data) data) {
    assign(*std::get<Value::TablePointer>(table_.data), key, {std::move(data), "r.toml:2"});
  }
  std::shared_ptr<const Task> read() {
    Options options(table_, "task");
    auto task = read_task(options);
    options.finish();
    return task;
  }

  Value table_ = Value::table("r.toml:1");
};

TEST_F(Read, TakesANumberOrNamesASideOrTwo) {
  set("type", std::string("segmentation"));
  set("classes", int64_t{5});
  set("size", int64_t{48});
  set("ignore", int64_t{-1});
  const PixelLabels square = *read()->pixel_labels();
  EXPECT_EQ(square.classes, 5);
  EXPECT_EQ(square.height, 48);
  EXPECT_EQ(square.width, 48);
  EXPECT_EQ(square.ignore, -1);
  set("classes", Value::List{{std::string("sky"), ""}, {std::string("road"), ""}});
  set("size", Value::List{{int64_t{16}, ""}, {int64_t{24}, ""}});
  EXPECT_EQ(read()->outputs(), 2);
  EXPECT_EQ(read()->pixel_labels()->height, 16);
  EXPECT_EQ(read()->pixel_labels()->width, 24);
}

TEST_F(Read, RefusesWhatMakesNoSense) {
  set("type", std::string("segmentation"));
  set("classes", int64_t{1});
  EXPECT_THROW(read(), RecipeError);
  set("classes", int64_t{3});
  set("size", Value::List{{int64_t{16}, ""}, {int64_t{24}, ""}, {int64_t{3}, ""}});
  EXPECT_THROW(read(), RecipeError);
  set("size", int64_t{0});
  EXPECT_THROW(read(), RecipeError);
  set("size", int64_t{16});
  set("class_weights", Value::List{{1.0, ""}, {2.0, ""}});
  EXPECT_THROW(read(), RecipeError);
}

}  // namespace
}  // namespace unbraid
