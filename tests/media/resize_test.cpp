#include "unbraid/media/resize.h"

#include <gtest/gtest.h>

#include <cmath>
#include <tuple>
#include <vector>

namespace unbraid {
namespace {

// [outputs, inputs]: a triangle around each output's centre, over two outputs or two inputs,
// whichever is wider, of sum 1.
torch::Tensor naive_weights(int64_t inputs, int64_t outputs) {
  torch::Tensor weights = torch::zeros({outputs, inputs}, torch::kDouble);
  const double step = static_cast<double>(inputs) / static_cast<double>(outputs);
  for (int64_t i = 0; i < outputs; ++i) {
    for (int64_t j = 0; j < inputs; ++j) {
      const double distance =
          (static_cast<double>(j) + 0.5) - (static_cast<double>(i) + 0.5) * step;
      weights[i][j] = std::max(0.0, 1.0 - std::abs(distance) / std::max(step, 1.0));
    }
  }
  return weights / weights.sum(1, /*keepdim=*/true);
}

// [height, width, channels] to [channels, size, size].
torch::Tensor naive_resize(const torch::Tensor& image, int64_t size) {
  return torch::matmul(torch::matmul(naive_weights(image.size(0), size),
                                     image.permute({2, 0, 1}).to(torch::kDouble)),
                       naive_weights(image.size(1), size).t());
}

torch::Tensor noise(int64_t height, int64_t width, int64_t channels) {
  const torch::Tensor numbers = torch::arange(height * width * channels, torch::kDouble);
  return (numbers * 0.37).sin().mul(127).add(128).to(torch::kUInt8).view({height, width, channels});
}

double error_of(const torch::Tensor& found, const torch::Tensor& expected) {
  return (found - expected).abs().max().item<double>();
}

const PixelScaling kAsItIs{{1, 1, 1}, {0, 0, 0}};

TEST(ResizeCrop, EqualsTheNaiveSum) {
  for (const auto& [height, width, size] :
       {std::tuple{50, 70, 24}, {20, 13, 32}, {9, 40, 16}, {1, 1, 5}, {5, 5, 1}, {700, 3, 7}}) {
    for (const int64_t channels : {1, 2, 3}) {
      const torch::Tensor image = noise(height, width, channels);
      const torch::Tensor resized = resize_crop(image, {0, 0, height, width}, size, false, kAsItIs);
      ASSERT_EQ(resized.sizes(), torch::IntArrayRef({channels, size, size}));
      EXPECT_LT(error_of(resized, naive_resize(image, size)), 1e-3) << height << " x " << width;
    }
  }
}

TEST(ResizeCrop, SeesThePartAlone) {
  const torch::Tensor image = noise(60, 90, 3);
  for (const Crop& crop : {Crop{0, 0, 60, 90}, Crop{7, 11, 33, 64}, Crop{59, 89, 1, 1}}) {
    const torch::Tensor part =
        image.narrow(0, crop.top, crop.height).narrow(1, crop.left, crop.width);
    EXPECT_LT(error_of(resize_crop(image, crop, 16, false, kAsItIs), naive_resize(part, 16)), 1e-3);
    EXPECT_LT(error_of(resize_crop(part, {0, 0, crop.height, crop.width}, 16, false, kAsItIs),
                       naive_resize(part, 16)),
              1e-3);
  }
}

TEST(ResizeCrop, MirrorsAndScalesByChannel) {
  const torch::Tensor image = noise(20, 30, 3);
  const torch::Tensor plain = naive_resize(image, 16);
  EXPECT_LT(error_of(resize_crop(image, {0, 0, 20, 30}, 16, true, kAsItIs), plain.flip(2)), 1e-3);
  const torch::Tensor scaled =
      resize_crop(image, {0, 0, 20, 30}, 16, false, {{0.5, 1, -1}, {0, 3, 255}});
  EXPECT_LT(error_of(scaled[0], plain[0] * 0.5), 1e-3);
  EXPECT_LT(error_of(scaled[1], plain[1] + 3), 1e-3);
  EXPECT_LT(error_of(scaled[2], 255 - plain[2]), 1e-3);
}

TEST(ResizeCrop, TakesAnyStrides) {
  const torch::Tensor image = noise(20, 30, 3);
  const torch::Tensor planes = image.permute({2, 0, 1}).contiguous().permute({1, 2, 0});
  EXPECT_TRUE(torch::equal(resize_crop(image, {2, 3, 10, 20}, 8, false, kAsItIs),
                           resize_crop(planes, {2, 3, 10, 20}, 8, false, kAsItIs)));
}

}  // namespace
}  // namespace unbraid
