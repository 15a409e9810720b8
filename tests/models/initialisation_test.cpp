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

struct OddsAndEndsImpl : torch::nn::Module {
  OddsAndEndsImpl() {
    register_parameter("token", torch::rand({1, 1, 3000}));
    register_parameter("positions", torch::rand({1, 1, 3000}));
    register_module("norm", torch::nn::LayerNorm(torch::nn::LayerNormOptions({4})));
    register_module(
        "bare", torch::nn::LayerNorm(torch::nn::LayerNormOptions({4}).elementwise_affine(false)));
    for (torch::Tensor& parameter : parameters()) {
      torch::nn::init::uniform_(parameter, 2, 3);
    }
  }
};
TORCH_MODULE(OddsAndEnds);

TEST(Initialise, DrawsWhatModulesOwnByTheirNames) {
  torch::manual_seed(1);
  OddsAndEnds first;
  const auto second = std::make_shared<torch::nn::Module>();
  second->register_module("part", OddsAndEnds());
  initialise(*first, 7);
  const auto p = first->named_parameters();
  for (const char* name : {"token", "positions"}) {
    EXPECT_NEAR(p[name].std().item<double>(), 0.02, 0.001);
    EXPECT_NEAR(p[name].mean().item<double>(), 0.0, 0.002);
  }
  EXPECT_FALSE(torch::equal(p["token"], p["positions"]));
  EXPECT_TRUE(torch::equal(p["norm.weight"], torch::ones(4)));
  EXPECT_TRUE(torch::equal(p["norm.bias"], torch::zeros(4)));
  initialise(*second, 7);
  EXPECT_FALSE(torch::equal(second->named_parameters()["part.token"], p["token"]));
  initialise(*second, 8);
  const torch::Tensor other = second->named_parameters()["part.token"].clone();
  initialise(*second, 7);
  EXPECT_FALSE(torch::equal(second->named_parameters()["part.token"], other));
}

}  // namespace
}  // namespace unbraid
