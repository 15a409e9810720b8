#include "unbraid/core/random.h"

#include <array>
#include <cmath>

#include <gtest/gtest.h>

namespace unbraid {
namespace {

TEST(RandomStream, IsAFunctionOfItsKeyAlone) {
  RandomStream first = RandomStream::of(1, 2, "id", "crop");
  RandomStream second = RandomStream::of(1, 2, "id", "crop");
  EXPECT_EQ(first.bits(), second.bits());
  const uint64_t value = RandomStream::of(1, 2, "id", "crop").bits();
  EXPECT_NE(value, RandomStream::of(2, 2, "id", "crop").bits());
  EXPECT_NE(value, RandomStream::of(1, 3, "id", "crop").bits());
  EXPECT_NE(value, RandomStream::of(1, 2, "di", "crop").bits());
  EXPECT_NE(value, RandomStream::of(1, 2, "id", "flip").bits());
  EXPECT_NE(RandomStream::of(1, 2, "ab", "c").bits(), RandomStream::of(1, 2, "a", "bc").bits());
}

// The first outputs of SplitMix64 seeded with 1234567, as its author publishes them.
TEST(RandomStream, FollowsSplitMix64) {
  RandomStream stream(1234567);
  EXPECT_EQ(stream.bits(), 6457827717110365317ULL);
  EXPECT_EQ(stream.bits(), 3203168211198807973ULL);
  EXPECT_EQ(stream.bits(), 9817491932198370423ULL);
}

TEST(RandomStream, DrawsWhatItsDistributionsSay) {
  RandomStream stream(7);
  constexpr int kDraws = 100000;
  std::array<int, 5> counts{};
  double sum = 0;
  double sum_of_squares = 0;
  double uniform_sum = 0;
  for (int i = 0; i < kDraws; ++i) {
    ++counts.at(stream.below(5));
    const double normal = stream.normal();
    sum += normal;
    sum_of_squares += normal * normal;
    const double uniform = stream.uniform(2.0, 4.0);
    ASSERT_GE(uniform, 2.0);
    ASSERT_LT(uniform, 4.0);
    uniform_sum += uniform;
  }
  for (const int count : counts) {
    EXPECT_NEAR(count, kDraws / 5.0, 600);
  }
  EXPECT_NEAR(sum / kDraws, 0.0, 0.02);
  EXPECT_NEAR(sum_of_squares / kDraws, 1.0, 0.03);
  EXPECT_NEAR(uniform_sum / kDraws, 3.0, 0.02);
}

TEST(SeededTests, StartFromOneSeed) {
  constexpr uint64_t kSeed = 20251127;  // of tests/seeded.cpp
  EXPECT_EQ(at::detail::getDefaultCPUGenerator().current_seed(), kSeed);
}

}  // namespace
}  // namespace unbraid
