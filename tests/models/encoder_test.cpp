#include "unbraid/models/encoders/encoder.h"

#include <gtest/gtest.h>

#include "unbraid/models/encoders/cnn.h"
#include "unbraid/models/encoders/embedding.h"
#include "unbraid/models/encoders/mlp.h"
#include "unbraid/models/encoders/sequence_cnn.h"
#include "unbraid/models/initialisation.h"

namespace unbraid {
namespace {

TEST(Cnn, AveragesItsLastFeatureMap) {
  const torch::NoGradGuard no_grad;
  Cnn encoder(1, {4, 6});
  encoder.eval();
  torch::manual_seed(1);
  const torch::Tensor input = torch::randn({2, 1, 9, 7});
  const auto p = encoder.named_parameters();
  torch::Tensor x = input;
  for (const char* number : {"1", "2"}) {
    x = torch::conv2d(x, p[std::string("conv") + number + ".weight"], {}, 2, 1);
    x = torch::relu(x / std::sqrt(1 + 1e-5));
  }
  EXPECT_TRUE(torch::allclose(encoder.forward(input), x.mean({2, 3}), 1e-5, 1e-6));
  EXPECT_EQ(encoder.feature_size(), 6);
}

TEST(SequenceCnn, RunsOverTime) {
  const torch::NoGradGuard no_grad;
  const auto holder = std::make_shared<SequenceCnn>(3, std::vector<int64_t>{4, 2});
  SequenceCnn& encoder = *holder;
  initialise(encoder, 1);
  encoder.eval();
  EXPECT_EQ(encoder.feature_size(), 2);
  torch::manual_seed(1);
  const torch::Tensor input = torch::randn({2, 5, 3});
  const auto p = encoder.named_parameters();
  // Step by step in double precision: output t sees the inputs 2 t - 1 to 2 t + 1, zeros beyond.
  torch::Tensor x = input.to(torch::kDouble);
  for (const char* name : {"conv1.weight", "conv2.weight"}) {
    const torch::Tensor weight = p[name].to(torch::kDouble);
    std::vector<torch::Tensor> steps;
    for (int64_t t = 0; 2 * t < x.size(1); ++t) {
      torch::Tensor sum = torch::zeros({2, weight.size(0)}, torch::kDouble);
      for (int64_t k = 0; k < 3; ++k) {
        const int64_t at = 2 * t + k - 1;
        if (at >= 0 && at < x.size(1)) {
          sum += torch::matmul(x.select(1, at), weight.select(2, k).t());
        }
      }
      steps.push_back(torch::relu(sum / std::sqrt(1 + 1e-5)));
    }
    x = torch::stack(steps, 1);
  }
  EXPECT_TRUE(torch::allclose(encoder.forward(input).to(torch::kDouble), x.mean(1), 1e-5, 1e-6));
  EXPECT_THROW(encoder.forward(torch::randn({2, 5, 4})), c10::Error);
  EXPECT_THROW(encoder.forward(torch::randn({2, 3})), c10::Error);
}

TEST(SequenceCnn, IsInitialisedAsImagesAre) {
  const auto encoder = std::make_shared<SequenceCnn>(32, std::vector<int64_t>{128});
  const auto again = std::make_shared<SequenceCnn>(32, std::vector<int64_t>{128});
  initialise(*encoder, 3);
  initialise(*again, 3);
  const torch::Tensor weight = encoder->named_parameters()["conv1.weight"];
  EXPECT_TRUE(torch::equal(weight, again->named_parameters()["conv1.weight"]));
  EXPECT_NEAR(weight.std().item<double>(), std::sqrt(2.0 / (128 * 3)), 0.002);
}

TEST(EmbeddingEncoder, AveragesWhatIsNoPadding) {
  const auto holder = std::make_shared<EmbeddingEncoder>(5, 3, 0);
  EmbeddingEncoder& encoder = *holder;
  initialise(encoder, 1);
  EXPECT_EQ(encoder.feature_size(), 3);
  const torch::Tensor weight = encoder.named_parameters()["embedding.weight"];
  const torch::Tensor features =
      encoder.forward(torch::tensor({4, 1, 1, 0, 0, 0, 0, 0}, torch::kLong).view({2, 4}));
  EXPECT_TRUE(torch::allclose(features[0], (weight[4] + 2 * weight[1]) / 3));
  EXPECT_TRUE(torch::equal(features[1], torch::zeros({3})));
  features.sum().backward();
  EXPECT_TRUE(torch::allclose(weight.grad().select(1, 0),
                              torch::tensor({0.0F, 2.0F / 3, 0.0F, 0.0F, 1.0F / 3})));
  EXPECT_THROW(encoder.forward(torch::tensor({{5}}, torch::kLong)), c10::Error);
  EXPECT_THROW(encoder.forward(torch::zeros({1, 4})), c10::Error);
}

TEST(Mlp, IsLinearReluLinear) {
  const torch::NoGradGuard no_grad;
  Mlp encoder({6, 5, 4});
  const auto p = encoder.named_parameters();
  const torch::Tensor input = torch::randn({3, 2, 3});
  const torch::Tensor expected =
      torch::relu(input.view({3, 6}).mm(p["fc1.weight"].t()) + p["fc1.bias"])
          .mm(p["fc2.weight"].t()) +
      p["fc2.bias"];
  EXPECT_TRUE(torch::allclose(encoder.forward(input), expected, 1e-5, 1e-6));
  EXPECT_THROW(encoder.forward(torch::randn({3, 5})), c10::Error);
}

}  // namespace
}  // namespace unbraid
