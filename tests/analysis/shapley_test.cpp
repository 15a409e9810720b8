#include "unbraid/analysis/shapley.h"

#include <numeric>
#include <stdexcept>

#include <gtest/gtest.h>

namespace unbraid {
namespace {

TEST(Shapley, OfTheGloveGame) {
  // Player 0 has a left glove, 1 and 2 a right one each; a pair is worth 1 (Shapley, 1953, and any
  // textbook): 2/3, 1/6, 1/6.
  const std::vector<double> shares = shapley_values({0, 0, 0, 1, 0, 1, 0, 1});
  ASSERT_EQ(shares.size(), 3);
  EXPECT_NEAR(shares[0], 2.0 / 3, 1e-12);
  EXPECT_NEAR(shares[1], 1.0 / 6, 1e-12);
  EXPECT_NEAR(shares[2], 1.0 / 6, 1e-12);
}

TEST(Shapley, OfTwoIsTheMeanOfBothOrders) {
  const std::vector<double> shares = shapley_values({0.1, 0.6, 0.4, 0.9});
  EXPECT_NEAR(shares[0], ((0.6 - 0.1) + (0.9 - 0.4)) / 2, 1e-12);
  EXPECT_NEAR(shares[1], ((0.4 - 0.1) + (0.9 - 0.6)) / 2, 1e-12);
}

TEST(Shapley, AddsUpToTheWhole) {
  std::vector<double> values(64);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<double>((i * 37 + 11) % 101);
  }
  const std::vector<double> shares = shapley_values(values);
  EXPECT_NEAR(std::accumulate(shares.begin(), shares.end(), 0.0), values.back() - values.front(),
              1e-9);
}

TEST(Shapley, OfOneAndOfNoPlayer) {
  EXPECT_NEAR(shapley_values({0.25, 1}).at(0), 0.75, 1e-12);
  EXPECT_TRUE(shapley_values({3}).empty());
}

TEST(Shapley, RefusesOtherNumbersOfValues) {
  EXPECT_THROW(shapley_values({}), std::invalid_argument);
  EXPECT_THROW(shapley_values({1, 2, 3}), std::invalid_argument);
}

}  // namespace
}  // namespace unbraid
