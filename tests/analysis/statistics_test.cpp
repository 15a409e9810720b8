#include "unbraid/analysis/statistics.h"

#include <cmath>
#include <stdexcept>

#include <gtest/gtest.h>

namespace unbraid {
namespace {

TEST(Statistics, IntervalIsStudents) {
  // t(0.975) of 4 degrees of freedom is 2.776445 (any printed table), s = sqrt(2.5).
  const Estimate five = estimate({1, 2, 3, 4, 5});
  EXPECT_DOUBLE_EQ(five.mean, 3);
  EXPECT_NEAR(five.half_width, 2.776445 * std::sqrt(2.5 / 5), 1e-5);
  EXPECT_EQ(five.count, 5);
  // 12.7062 of 1 degree of freedom.
  EXPECT_NEAR(estimate({0, 2}).half_width, 12.7062, 1e-3);
}

TEST(Statistics, OneValueHasNoInterval) {
  EXPECT_DOUBLE_EQ(estimate({7}).mean, 7);
  EXPECT_TRUE(std::isnan(estimate({7}).half_width));
  EXPECT_FALSE(estimate({7}).differs_from_zero());
  EXPECT_TRUE(std::isnan(estimate({}).mean));
}

TEST(Statistics, EqualValuesSayNothingOfChance) {
  EXPECT_NEAR(estimate({0.2, 0.2}).half_width, 0, 1e-15);
  EXPECT_FALSE(estimate({0.2, 0.2}).differs_from_zero());
  EXPECT_FALSE(
      estimate_difference({0.8, 0.81}, {0.6, 0.61}).differs_from_zero());  // but for rounding
  EXPECT_TRUE(estimate({0.2, 0.201, 0.2}).differs_from_zero());
}

TEST(Statistics, PairsTakeOutWhatTheyShare) {
  const Estimate paired = estimate_difference({11, 21, 31.3}, {10, 20, 30});
  EXPECT_NEAR(paired.mean, 1.1, 1e-12);
  EXPECT_NEAR(paired.half_width, 4.302653 * 0.173205 / std::sqrt(3), 1e-5);
  EXPECT_TRUE(paired.differs_from_zero());
  EXPECT_FALSE(estimate_difference({1, 3, 2}, {2, 2, 2}).differs_from_zero());
  EXPECT_THROW(estimate_difference({1}, {}), std::invalid_argument);
}

}  // namespace
}  // namespace unbraid
