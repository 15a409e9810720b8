#include "unbraid/models/encoders/transformer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "unbraid/models/initialisation.h"

namespace unbraid {
namespace {

using torch::Tensor;

TransformerEncoderOptions small_options() {
  TransformerEncoderOptions options;
  options.in_features = 3;
  options.block = {.width = 6, .heads = 2};
  options.max_length = 7;
  return options;
}

std::shared_ptr<TransformerEncoder> make(const TransformerEncoderOptions& options) {
  auto encoder = std::make_shared<TransformerEncoder>(options);
  initialise(*encoder, 1);
  encoder->to(torch::kDouble);
  return encoder;
}

/// The positions by hand, then the blocks, whose own test has them by hand.
Tensor reference(const TransformerEncoder& encoder, const TransformerEncoderOptions& options,
                 const Tensor& input) {
  const torch::NoGradGuard no_grad;
  auto p = encoder.named_parameters();
  const int64_t width = options.block.width;
  Tensor positions = torch::zeros({input.size(1), width}, torch::kDouble);
  for (int64_t t = 0; t < input.size(1); ++t) {
    for (int64_t i = 0; i < width; ++i) {
      const double angle =
          static_cast<double>(t) /
          std::pow(10000.0, 2.0 * static_cast<double>(i / 2) / static_cast<double>(width));
      positions[t][i] = options.learned_positions ? p["pos_embed"][0][t][i].item<double>()
                        : i % 2 == 0              ? std::sin(angle)
                                                  : std::cos(angle);
    }
  }
  TransformerBlocks blocks(options.depth, options.block);
  blocks->to(torch::kDouble);
  for (auto& parameter : blocks->named_parameters()) {
    parameter.value().copy_(p["blocks." + parameter.key()]);
  }
  const Tensor x =
      blocks->forward(torch::matmul(input, p["proj.weight"].t()) + p["proj.bias"] + positions);
  const Tensor centred = x - x.mean(2, true);
  return centred / (centred.square().mean(2, true) + 1e-6).sqrt();
}

TEST(TransformerEncoder, AddsPositionsAndAveragesOverTime) {
  torch::manual_seed(2);
  const Tensor input = torch::randn({2, 5, 3}, torch::kDouble);
  for (const bool learned : {false, true}) {
    for (const int64_t width : {6, 5}) {
      auto options = small_options();
      options.learned_positions = learned;
      options.block = {.width = width, .heads = width == 6 ? 2 : 1};
      const auto mean = make(options);
      options.tokens = true;
      const auto tokens = make(options);
      const Tensor expected = reference(*tokens, options, input);
      EXPECT_EQ(mean->feature_size(), width);
      EXPECT_EQ(mean->feature_kind(), FeatureKind::kVector);
      EXPECT_EQ(tokens->feature_kind(), FeatureKind::kTokens);
      EXPECT_TRUE(torch::allclose(tokens->forward(input), expected, 1e-5, 1e-6));
      EXPECT_TRUE(torch::allclose(mean->forward(input), expected.mean(1), 1e-5, 1e-6));
    }
  }
}

TEST(TransformerEncoder, HasTheNamesOfItsContract) {
  auto options = small_options();
  options.depth = 1;
  EXPECT_EQ(make(options)->named_parameters().size(), 2 + 12 + 2);
  options.learned_positions = true;
  const auto p = make(options)->named_parameters();
  EXPECT_EQ(p["pos_embed"].sizes(), (std::vector<int64_t>{1, 7, 6}));
  EXPECT_EQ(p["proj.weight"].sizes(), (std::vector<int64_t>{6, 3}));
  EXPECT_TRUE(p.contains("blocks.0.attn.qkv.weight"));
  EXPECT_TRUE(p.contains("norm.weight"));
}

TEST(TransformerEncoder, RefusesWhatIsTooLongOrOfAnotherSize) {
  const auto encoder = make(small_options());
  EXPECT_EQ(encoder->forward(torch::zeros({1, 7, 3}, torch::kDouble)).size(1), 6);
  try {
    encoder->forward(torch::zeros({1, 8, 3}, torch::kDouble));
    FAIL();
  } catch (const c10::Error& error) {
    EXPECT_NE(std::string(error.what_without_backtrace())
                  .find("expected sequences [B, T, 3] with T of at most 7 (max_length), got "
                        "[1, 8, 3]"),
              std::string::npos)
        << error.what_without_backtrace();
  }
  EXPECT_THROW(encoder->forward(torch::zeros({1, 5, 4}, torch::kDouble)), c10::Error);
  EXPECT_THROW(encoder->forward(torch::zeros({1, 0, 3}, torch::kDouble)), c10::Error);
  EXPECT_THROW(encoder->forward(torch::zeros({5, 3}, torch::kDouble)), c10::Error);
}

}  // namespace
}  // namespace unbraid
