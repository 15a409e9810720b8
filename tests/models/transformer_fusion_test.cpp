#include "unbraid/models/fusions/transformer.h"

#include <array>

#include <gtest/gtest.h>

#include "unbraid/models/encoders/embedding.h"

namespace unbraid {
namespace {

constexpr int64_t kSize = 4;
constexpr int64_t kWords = 20;

/// An embedding of text, and a fusion of its tokens with vectors of sound, in double precision.
struct TextAndSound {
  TextAndSound() {
    torch::manual_seed(3);
    text = std::make_shared<EmbeddingEncoder>(kWords, kSize, /*padding=*/0, /*tokens=*/true);
    fusion = std::make_shared<TransformerFusion>(
        FusionShape{
            {"text", "sound"}, {kSize, kSize}, 3, {FeatureKind::kTokens, FeatureKind::kVector}},
        TransformerFusionOptions{.block = {.width = 6, .heads = 2}, .max_tokens = 12});
    text->to(torch::kDouble);
    fusion->to(torch::kDouble);
    const torch::NoGradGuard no_grad;
    for (torch::Tensor& parameter : fusion->parameters()) {
      parameter.normal_(0.0, 0.5);
    }
  }
  torch::Tensor operator()(const torch::Tensor& ids, const torch::Tensor& sound) const {
    return fusion->forward({text->forward(ids), sound});
  }
  std::shared_ptr<EmbeddingEncoder> text;
  std::shared_ptr<TransformerFusion> fusion;
};

TEST(TransformerFusion, DoesNotAttendToThePaddingOfText) {
  const TextAndSound model;
  const torch::Tensor ids =
      torch::tensor({{4, 7, 0, 0, 0, 0}, {9, 3, 5, 2, 0, 0}, {1, 1, 1, 1, 1, 1}}, torch::kLong);
  const torch::Tensor sound = torch::randn({3, kSize}, torch::kDouble);
  for (const bool with_sound : {true, false}) {
    const torch::Tensor output = model(ids, with_sound ? sound : torch::Tensor());
    constexpr std::array<int64_t, 3> kLengths{2, 4, 6};
    for (int64_t i = 0; i < 3; ++i) {
      const torch::Tensor unpadded = ids.narrow(0, i, 1).narrow(1, 0, kLengths[i]);
      const torch::Tensor alone =
          model(unpadded, with_sound ? sound.narrow(0, i, 1) : torch::Tensor());
      EXPECT_TRUE(torch::allclose(output[i], alone[0], 1e-10, 1e-12)) << i;
    }
  }
}

TEST(TransformerFusion, PaddingHasNoPartInGradients) {
  const TextAndSound model;
  const auto gradients = [&](const torch::Tensor& ids) {
    std::vector<torch::Tensor> parameters = model.text->parameters();
    for (const torch::Tensor& parameter : model.fusion->parameters()) {
      parameters.push_back(parameter);
    }
    return torch::autograd::grad({model(ids, torch::Tensor()).square().sum()}, parameters, {},
                                 false, false, true);
  };
  const torch::Tensor ids = torch::tensor({{4, 7, 3}, {9, 3, 5}}, torch::kLong);
  const auto expected = gradients(ids);
  const auto actual = gradients(torch::constant_pad_nd(ids, {0, 5}, 0));
  for (size_t i = 0; i < expected.size(); ++i) {
    ASSERT_EQ(expected[i].defined(), actual[i].defined()) << i;
    if (expected[i].defined()) {
      EXPECT_TRUE(torch::allclose(expected[i], actual[i], 1e-9, 1e-12)) << i;
    }
  }
}

TEST(TransformerFusion, ATextThatIsAllPaddingIsAnAbsentOne) {
  const TextAndSound model;
  const torch::Tensor sound = torch::randn({2, kSize}, torch::kDouble);
  const torch::Tensor ids = torch::tensor({{4, 7, 3}, {0, 0, 0}}, torch::kLong);
  const torch::Tensor output = model(ids, sound);
  EXPECT_TRUE(torch::allclose(output[1], model.fusion->forward({torch::Tensor(), sound})[1]));
  EXPECT_FALSE(torch::allclose(output[0], model.fusion->forward({torch::Tensor(), sound})[0]));
  EXPECT_TRUE(model(ids.narrow(0, 1, 1), torch::Tensor()).isfinite().all().item<bool>());
}

}  // namespace
}  // namespace unbraid
