#include "unbraid/models/initialisation.h"

#include <gtest/gtest.h>

#include "unbraid/models/encoders/cnn.h"
#include "unbraid/models/encoders/resnet.h"

namespace unbraid {
namespace {

TEST(Initialise, DrawsTheDistributionsOfTheReference) {
  const auto owner = std::make_shared<ResNet>(ResNetOptions{.in_channels = 3});
  ResNet& encoder = *owner;
  torch::nn::Sequential model(torch::nn::Linear(300, 200));
  initialise(encoder, 1);
  initialise(*model, 1);
  const auto p = encoder.named_parameters();
  // Kaiming fan out: 128 channels x 3 x 3 for layer2's convolutions, also the one of 64 inputs.
  EXPECT_NEAR(p["layer2.0.conv1.weight"].std().item<double>(), std::sqrt(2.0 / (128 * 9)), 1e-3);
  EXPECT_NEAR(p["layer2.1.conv1.weight"].std().item<double>(), std::sqrt(2.0 / (128 * 9)), 1e-3);
  EXPECT_NEAR(p["layer2.1.conv1.weight"].mean().item<double>(), 0.0, 1e-3);
  EXPECT_TRUE(torch::equal(p["bn1.weight"], torch::ones(64)));
  EXPECT_TRUE(torch::equal(p["bn1.bias"], torch::zeros(64)));
  EXPECT_NEAR(model->named_parameters()["0.weight"].std().item<double>(), std::sqrt(2.0 / 500),
              1e-3);
  EXPECT_TRUE(torch::equal(model->named_parameters()["0.bias"], torch::zeros(200)));
}

TEST(Initialise, DependsOnSeedAndNameAlone) {
  const auto weights = [](uint64_t seed) {
    const auto owner = std::make_shared<Cnn>(1, std::vector<int64_t>{4, 4});
    Cnn& encoder = *owner;
    torch::randn({3});  // what else was drawn does not matter
    initialise(encoder, seed);
    return std::vector<torch::Tensor>{encoder.named_parameters()["conv1.weight"],
                                      encoder.named_parameters()["conv2.weight"]};
  };
  EXPECT_TRUE(torch::equal(weights(1)[0], weights(1)[0]));
  EXPECT_FALSE(torch::equal(weights(1)[0], weights(2)[0]));
  EXPECT_FALSE(torch::equal(weights(1)[1].select(1, 0), weights(1)[0].select(1, 0)));
}

}  // namespace
}  // namespace unbraid
