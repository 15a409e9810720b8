#include "unbraid/core/presence.h"

#include <gtest/gtest.h>

namespace unbraid {
namespace {

torch::Tensor mask_of(const std::vector<std::vector<int>>& rows) {
  std::vector<torch::Tensor> lines;
  for (const auto& row : rows) {
    lines.push_back(torch::tensor(row).to(torch::kBool));
  }
  return torch::stack(lines);
}

// Sample 0 has the first modality, sample 1 both, sample 2 the second.
const std::vector<std::vector<int>> kRows = {{1, 0}, {1, 1}, {0, 1}};

TEST(Presence, IsCompleteWithoutAMaskOrWithAFullOne) {
  EXPECT_TRUE(Presence().complete());
  EXPECT_TRUE(Presence(mask_of({{1, 1}, {1, 1}})).complete());
  EXPECT_FALSE(Presence(mask_of(kRows)).complete());
  EXPECT_TRUE(Presence(mask_of({{1, 0}, {1, 1}})).complete(0));
  EXPECT_FALSE(Presence(mask_of({{1, 0}, {1, 1}})).complete(1));
}

TEST(Presence, RefusesWhatIsNoMask) {
  EXPECT_THROW(Presence(torch::ones({2, 2})), c10::Error);
  EXPECT_THROW(Presence(torch::ones({2}, torch::kBool)), c10::Error);
  EXPECT_THROW(Presence(mask_of({{1, 1}, {0, 0}})), c10::Error);
}

TEST(Presence, PacksAndSpreads) {
  const Presence presence(mask_of(kRows));
  const torch::Tensor values = torch::tensor({{1.0, 2.0}, {3.0, 4.0}, {5.0, 6.0}});
  const torch::Tensor packed = presence.pack(values, 1);
  EXPECT_TRUE(torch::equal(packed, torch::tensor({{3.0, 4.0}, {5.0, 6.0}})));
  EXPECT_TRUE(torch::equal(presence.spread(packed, 1),
                           torch::tensor({{0.0, 0.0}, {3.0, 4.0}, {5.0, 6.0}})));
  EXPECT_TRUE(torch::equal(presence.has(1, values), torch::tensor({false, true, true})));
  EXPECT_TRUE(torch::equal(Presence().pack(values, 1), values));
  EXPECT_TRUE(torch::equal(Presence().spread(values, 1), values));
}

TEST(Presence, SpreadPassesGradientsOn) {
  const Presence presence(mask_of(kRows));
  const torch::Tensor packed = torch::ones({2, 1}).set_requires_grad(true);
  (presence.spread(packed, 0) * torch::tensor({{2.0}, {3.0}, {5.0}})).sum().backward();
  EXPECT_TRUE(torch::equal(packed.grad(), torch::tensor({{2.0}, {3.0}})));
}

TEST(Presence, KeepsSomeModalitiesOfTheSamplesThatHaveThem) {
  const Presence presence(mask_of(kRows));
  EXPECT_TRUE(torch::equal(presence.samples_with({true, false}), torch::tensor({0, 1})));
  EXPECT_TRUE(torch::equal(presence.samples_with({true, true}), torch::tensor({0, 1, 2})));
  EXPECT_TRUE(torch::equal(presence.only({true, false}).mask(), mask_of({{1, 0}, {1, 0}})));
  EXPECT_FALSE(Presence().samples_with({true, false}).defined());
  EXPECT_TRUE(Presence().only({true, false}).complete());
}

}  // namespace
}  // namespace unbraid
