#include "unbraid/data/contact_sheet.h"

#include <gtest/gtest.h>

namespace unbraid {
namespace {

TEST(ContactSheet, LaysPicturesOutInRowsEachInItsOwnRange) {
  const torch::Tensor ramp = torch::linspace(-3.0, 5.0, 4).view({1, 1, 4}).repeat({1, 2, 1});
  torch::Tensor red = torch::zeros({3, 8, 8});
  red[0] = 1.0;
  const torch::Tensor clip = torch::stack({red, red * 0.5});
  const torch::Tensor sheet = contact_sheet({{ramp, clip}, {torch::Tensor(), red}});
  // A ramp twice as wide as high, two frames; below it an absent one and one frame.
  ASSERT_EQ(sheet.sizes(), torch::IntArrayRef({2 * 116, 224 + 4 + 2 * 116, 3}));
  EXPECT_EQ(sheet.dtype(), torch::kUInt8);
  EXPECT_EQ(sheet[50][0][0].item<int>(), 0);
  EXPECT_EQ(sheet[50][223][1].item<int>(), 255);
  EXPECT_EQ(sheet[50][228 + 50][0].item<int>(), 255);
  EXPECT_EQ(sheet[50][228 + 50][1].item<int>(), 0);
  EXPECT_EQ(sheet[50][228 + 116 + 50][0].item<int>(), 255);
  EXPECT_EQ(sheet[116 + 50][50][0].item<int>(), 0);
  EXPECT_EQ(sheet[116 + 50][116 + 50][0].item<int>(), 255);
  EXPECT_EQ(sheet.narrow(0, 112, 4).max().item<int>(), 0);  // between the rows
}

TEST(ContactSheet, DrawsVectorsAndConstantsToo) {
  const torch::Tensor sheet =
      contact_sheet({{torch::arange(5.0), torch::full({2, 6, 6}, 7.0), torch::tensor(1.0)}});
  EXPECT_EQ(sheet.size(0), 116);
  EXPECT_GT(sheet.max().item<int>(), 0);
}

}  // namespace
}  // namespace unbraid
