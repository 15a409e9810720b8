// LibTorch seeds its generator with what the system draws: every test starts from the same seed.
#include <gtest/gtest.h>

#include "unbraid/core/torch.h"

namespace unbraid {
namespace {

class Seeding : public ::testing::EmptyTestEventListener {
  void OnTestStart(const ::testing::TestInfo& /*test*/) override { torch::manual_seed(20251127); }
};

const bool kListens = [] {
  ::testing::UnitTest::GetInstance()->listeners().Append(new Seeding);
  return true;
}();

}  // namespace
}  // namespace unbraid
