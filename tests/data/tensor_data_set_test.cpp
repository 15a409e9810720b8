#include "unbraid/data/tensor_data_set.h"

#include <gtest/gtest.h>

namespace unbraid {
namespace {

TEST(TensorDataSet, SamplesAreRows) {
  const torch::Tensor left = torch::arange(6).view({3, 2});
  const torch::Tensor right = torch::arange(12).view({3, 2, 2});
  const TensorDataSet data({left, right}, torch::tensor({5, 6, 7}));
  ASSERT_EQ(data.size(), 3);
  EXPECT_EQ(data.id(2), "2");
  const Sample sample = data.get(2, 9, true);
  ASSERT_EQ(sample.inputs.size(), 2);
  EXPECT_TRUE(torch::equal(sample.inputs[0], torch::tensor({4, 5})));
  EXPECT_TRUE(torch::equal(sample.inputs[1], right[2]));
  EXPECT_EQ(sample.target.item<int64_t>(), 7);
  EXPECT_THROW(TensorDataSet({left, right.slice(0, 1)}, torch::tensor({5, 6, 7})), c10::Error);
}

}  // namespace
}  // namespace unbraid
