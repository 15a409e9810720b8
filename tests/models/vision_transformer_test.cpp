#include "unbraid/models/encoders/vision_transformer.h"

#include <gtest/gtest.h>

#include "unbraid/models/initialisation.h"

namespace unbraid {
namespace {

using torch::Tensor;

VisionTransformerOptions small_options() {
  VisionTransformerOptions options;
  options.image_size = {6, 4};
  options.patch = 2;
  options.in_channels = 2;
  options.depth = 2;
  options.block = {.width = 8, .heads = 2};
  return options;
}

std::shared_ptr<VisionTransformer> make(const VisionTransformerOptions& options) {
  auto encoder = std::make_shared<VisionTransformer>(options);
  initialise(*encoder, 1);
  encoder->to(torch::kDouble);
  return encoder;
}

Tensor random_images() {
  torch::manual_seed(2);
  return torch::randn({3, 2, 6, 4}, torch::kDouble);
}

TEST(VisionTransformer, HasTimmsNamesAndShapes) {
  const VisionTransformer encoder({});
  int64_t count = 0;
  for (const Tensor& parameter : encoder.parameters()) {
    count += parameter.numel();
  }
  // timm's vit_small_patch16_224: 22,050,664 with its head of 1000 classes.
  EXPECT_EQ(count, 22050664 - 1000 * 384 - 1000);
  EXPECT_EQ(encoder.feature_size(), 384);
  const auto p = encoder.named_parameters();
  EXPECT_EQ(p.size(), 4 + 12 * 12 + 2);
  EXPECT_EQ(p["cls_token"].sizes(), (std::vector<int64_t>{1, 1, 384}));
  EXPECT_EQ(p["pos_embed"].sizes(), (std::vector<int64_t>{1, 197, 384}));
  EXPECT_EQ(p["patch_embed.proj.weight"].sizes(), (std::vector<int64_t>{384, 3, 16, 16}));
  EXPECT_EQ(p["patch_embed.proj.bias"].sizes(), (std::vector<int64_t>{384}));
  EXPECT_EQ(p["blocks.0.norm1.weight"].sizes(), (std::vector<int64_t>{384}));
  EXPECT_EQ(p["blocks.0.attn.qkv.weight"].sizes(), (std::vector<int64_t>{1152, 384}));
  EXPECT_EQ(p["blocks.11.attn.proj.bias"].sizes(), (std::vector<int64_t>{384}));
  EXPECT_EQ(p["blocks.11.mlp.fc1.weight"].sizes(), (std::vector<int64_t>{1536, 384}));
  EXPECT_EQ(p["blocks.11.mlp.fc2.weight"].sizes(), (std::vector<int64_t>{384, 1536}));
  EXPECT_EQ(p["norm.bias"].sizes(), (std::vector<int64_t>{384}));
}

/// Patches cut out one by one in rows, then the blocks, whose own test has them by hand.
TEST(VisionTransformer, PutsTheClassTokenBeforeThePatchesInRows) {
  auto options = small_options();
  options.tokens = true;
  const auto encoder = make(options);
  const Tensor images = random_images();
  auto p = encoder->named_parameters();
  std::vector<Tensor> tokens{p["cls_token"].view({1, 8}).expand({3, 8})};
  for (int64_t row = 0; row < 3; ++row) {
    for (int64_t column = 0; column < 2; ++column) {
      const Tensor patch =
          images.slice(2, 2 * row, 2 * row + 2).slice(3, 2 * column, 2 * column + 2);
      tokens.push_back(
          torch::matmul(patch.reshape({3, -1}), p["patch_embed.proj.weight"].reshape({8, -1}).t()) +
          p["patch_embed.proj.bias"]);
    }
  }
  TransformerBlocks blocks(options.depth, options.block);
  blocks->to(torch::kDouble);
  const torch::NoGradGuard no_grad;
  for (auto& parameter : blocks->named_parameters()) {
    parameter.value().copy_(p["blocks." + parameter.key()]);
  }
  const Tensor x = blocks->forward(torch::stack(tokens, 1) + p["pos_embed"]);
  const Tensor centred = x - x.mean(2, true);
  const Tensor expected = centred / (centred.square().mean(2, true) + 1e-6).sqrt();
  EXPECT_EQ(encoder->feature_kind(), FeatureKind::kTokens);
  EXPECT_TRUE(torch::allclose(encoder->forward(images), expected));
  const auto vectors = make(small_options());
  EXPECT_EQ(vectors->feature_kind(), FeatureKind::kVector);
  EXPECT_TRUE(torch::allclose(vectors->forward(images), expected.select(1, 0)));
}

TEST(VisionTransformer, AveragesClips) {
  const torch::NoGradGuard no_grad;
  const Tensor images = random_images();
  auto options = small_options();
  for (const bool tokens : {false, true}) {
    options.tokens = tokens;
    const auto encoder = make(options);
    const Tensor expected =
        (encoder->forward(images) + encoder->forward(-images) + encoder->forward(images * 2)) / 3;
    const Tensor clips = torch::stack({images, -images, images * 2}, 1);
    EXPECT_TRUE(torch::allclose(encoder->forward(clips), expected));
  }
}

TEST(VisionTransformer, RefusesImagesOfAnotherSize) {
  const auto encoder = make(small_options());
  try {
    encoder->forward(torch::zeros({1, 2, 4, 6}, torch::kDouble));
    FAIL();
  } catch (const c10::Error& error) {
    EXPECT_NE(std::string(error.what_without_backtrace())
                  .find("expected images [B, 2, 6, 4] as in_channels and image_size say, got "
                        "[1, 2, 4, 6]"),
              std::string::npos)
        << error.what_without_backtrace();
  }
  EXPECT_THROW(encoder->forward(torch::zeros({1, 3, 6, 4}, torch::kDouble)), c10::Error);
  EXPECT_THROW(encoder->forward(torch::zeros({2, 6, 4}, torch::kDouble)), c10::Error);
}

}  // namespace
}  // namespace unbraid
