#include "unbraid/media/log_magnitude.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace unbraid {
namespace {

TEST(LogMagnitude, EqualsTheLogarithmInDouble) {
  for (const float offset : {1e-7F, 1e-3F}) {
    std::vector<float> powers = {0.0F, 1e-37F, 1.0F, 0.5F, 2.0F, 0.9999F, 1.0001F};
    for (double power = 1e-30; power < 1e30; power *= 1.0137) {
      powers.push_back(static_cast<float>(power));
    }
    std::vector<float> found = powers;
    log_magnitude(found.data(), static_cast<int64_t>(found.size()), offset);
    for (size_t i = 0; i < powers.size(); ++i) {
      // As float adds them: what is to be exact is the logarithm.
      const double value = std::sqrt(powers[i]) + offset;
      const double expected = std::log(value);
      EXPECT_NEAR(found[i], expected, 2e-7 * std::max(std::abs(expected), 1e-2)) << powers[i];
    }
  }
}

TEST(LogMagnitude, TakesAnyCount) {
  for (int64_t count = 0; count < 20; ++count) {
    std::vector<float> values(static_cast<size_t>(count) + 1, 4.0F);
    log_magnitude(values.data(), count, 0.0F);
    for (int64_t i = 0; i < count; ++i) {
      EXPECT_FLOAT_EQ(values[static_cast<size_t>(i)], std::log(2.0F));
    }
    EXPECT_EQ(values.back(), 4.0F);  // left alone
  }
}

TEST(LogMagnitude, IsFiniteForNothingAtAll) {
  float value = 0;
  log_magnitude(&value, 1, 0.0F);
  EXPECT_FLOAT_EQ(value, std::log(std::numeric_limits<float>::min()));
}

}  // namespace
}  // namespace unbraid
