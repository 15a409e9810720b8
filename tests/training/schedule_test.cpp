#include "unbraid/training/schedule.h"

#include <gtest/gtest.h>

namespace unbraid {
namespace {

TEST(LearningRate, Constant) { EXPECT_EQ(learning_rate({}, 0.3, 12345, 10, 2), 0.3); }

TEST(LearningRate, MultistepDropsAtTheStartOfEachMilestone) {
  const ScheduleOptions schedule{.type = "multistep", .milestones = {2, 4}, .gamma = 0.1};
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1.0, 19, 10, 6), 1.0);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1.0, 20, 10, 6), 0.1);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1.0, 39, 10, 6), 0.1);
  EXPECT_NEAR(learning_rate(schedule, 1.0, 40, 10, 6), 0.01, 1e-15);
}

TEST(LearningRate, StepDropsEverySoManyEpochs) {
  const ScheduleOptions schedule{.type = "step", .step_size = 3, .gamma = 0.5};
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1.0, 29, 10, 9), 1.0);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1.0, 30, 10, 9), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1.0, 60, 10, 9), 0.25);
}

TEST(LearningRate, CosineGoesFromBaseToMinimum) {
  const ScheduleOptions schedule{.type = "cosine", .min_lr = 0.2};
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1.0, 0, 10, 4), 1.0);
  EXPECT_NEAR(learning_rate(schedule, 1.0, 20, 10, 4), 0.6, 1e-12);
  EXPECT_NEAR(learning_rate(schedule, 1.0, 40, 10, 4), 0.2, 1e-12);
}

TEST(LearningRate, WarmsUpLinearlyThenFollowsItsSchedule) {
  const ScheduleOptions schedule{.type = "cosine", .warmup_epochs = 1};
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1.0, 0, 10, 3), 0.1);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1.0, 4, 10, 3), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1.0, 10, 10, 3), 1.0);
  EXPECT_NEAR(learning_rate(schedule, 1.0, 20, 10, 3), 0.5, 1e-12);
}

Options options_of(const Value& table) { return Options(table, "schedule"); }

TEST(ReadSchedule, AsksForWhatItsTypeNeeds) {
  Value table = Value::table("r:1");
  auto& entries = *std::get<Value::TablePointer>(table.data);
  Options empty = options_of(table);
  EXPECT_EQ(read_schedule(empty).type, "constant");
  assign(entries, "type", {std::string("multistep"), "r:2"});
  Options incomplete = options_of(table);
  EXPECT_THROW(read_schedule(incomplete), RecipeError);
  assign(entries, "milestones", {Value::List{{int64_t{5}, ""}, {int64_t{3}, ""}}, "r:3"});
  Options unsorted = options_of(table);
  EXPECT_THROW(read_schedule(unsorted), RecipeError);
}

}  // namespace
}  // namespace unbraid
