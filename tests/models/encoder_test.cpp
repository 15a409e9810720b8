#include "unbraid/models/encoders/encoder.h"

#include <gtest/gtest.h>

#include "unbraid/models/encoders/cnn.h"
#include "unbraid/models/encoders/embedding.h"
#include "unbraid/models/encoders/mlp.h"
#include "unbraid/models/encoders/resnet.h"
#include "unbraid/models/encoders/sequence_cnn.h"
#include "unbraid/models/initialisation.h"

namespace unbraid {
namespace {

TEST(ResNet, HasTorchvisionsNamesAndShapes) {
  const ResNet encoder({.in_channels = 1});
  int64_t count = 0;
  for (const torch::Tensor& parameter : encoder.parameters()) {
    count += parameter.numel();
  }
  // torchvision's resnet18: 11,689,512 with fc (513,000) and 3 input channels (2 * 64 * 49 more).
  EXPECT_EQ(count, 11689512 - 513000 - 2 * 64 * 49);
  EXPECT_EQ(encoder.parameters().size(), 60);
  EXPECT_EQ(encoder.buffers().size(), 60);
  const auto parameters = encoder.named_parameters();
  EXPECT_EQ(parameters["conv1.weight"].sizes(), (std::vector<int64_t>{64, 1, 7, 7}));
  EXPECT_EQ(parameters["layer2.0.downsample.0.weight"].sizes(),
            (std::vector<int64_t>{128, 64, 1, 1}));
  EXPECT_EQ(parameters["layer4.1.bn2.bias"].sizes(), (std::vector<int64_t>{512}));
  EXPECT_TRUE(encoder.named_buffers().contains("layer2.0.downsample.1.running_var"));
  EXPECT_TRUE(encoder.named_buffers().contains("bn1.num_batches_tracked"));
  EXPECT_FALSE(parameters.contains("layer1.0.downsample.0.weight"));
}

TEST(ResNet, TakesWidthStemImagesAndClips) {
  const torch::NoGradGuard no_grad;
  ResNet encoder({.in_channels = 2, .width = 8, .small_stem = true});
  encoder.eval();
  EXPECT_EQ(encoder.feature_size(), 64);
  torch::manual_seed(1);
  const torch::Tensor clip = torch::randn({3, 4, 2, 16, 20});
  const torch::Tensor features = encoder.forward(clip);
  ASSERT_EQ(features.sizes(), (std::vector<int64_t>{3, 64}));
  torch::Tensor mean = torch::zeros({3, 64});
  for (int64_t frame = 0; frame < 4; ++frame) {
    mean += encoder.forward(clip.select(1, frame)) / 4;
  }
  EXPECT_TRUE(torch::allclose(features, mean, 1e-4, 1e-5));
  EXPECT_THROW(encoder.forward(torch::randn({3, 2, 16})), c10::Error);
}

/// ResNet-18 from plain functions in double precision, by the numbers of the paper.
torch::Tensor reference_resnet(const torch::nn::Module& module, torch::Tensor x, bool training) {
  const auto p = module.named_parameters();
  const auto b = module.named_buffers();
  const auto weight = [&](const std::string& name) { return p[name].to(torch::kDouble); };
  const auto norm = [&](const torch::Tensor& input, const std::string& name) {
    const auto shape = std::vector<int64_t>{1, -1, 1, 1};
    const torch::Tensor mean =
        training ? input.mean({0, 2, 3}) : b[name + ".running_mean"].to(torch::kDouble);
    const torch::Tensor variance = training ? (input - mean.view(shape)).square().mean({0, 2, 3})
                                            : b[name + ".running_var"].to(torch::kDouble);
    return (input - mean.view(shape)) / (variance.view(shape) + 1e-5).sqrt() *
               weight(name + ".weight").view(shape) +
           weight(name + ".bias").view(shape);
  };
  const auto convolve = [&](const torch::Tensor& input, const std::string& name, int64_t stride) {
    const torch::Tensor w = weight(name + ".weight");
    return torch::conv2d(input, w, {}, stride, w.size(2) / 2);
  };
  x = torch::relu(norm(convolve(x, "conv1", 2), "bn1"));
  x = torch::max_pool2d(x, 3, 2, 1);
  for (int layer = 1; layer <= 4; ++layer) {
    for (int block = 0; block < 2; ++block) {
      const std::string name = "layer" + std::to_string(layer) + "." + std::to_string(block);
      const int64_t stride = layer > 1 && block == 0 ? 2 : 1;
      const torch::Tensor shortcut =
          stride == 1 ? x : norm(convolve(x, name + ".downsample.0", 2), name + ".downsample.1");
      const torch::Tensor hidden =
          torch::relu(norm(convolve(x, name + ".conv1", stride), name + ".bn1"));
      x = torch::relu(norm(convolve(hidden, name + ".conv2", 1), name + ".bn2") + shortcut);
    }
  }
  return x.mean({2, 3});
}

double relative_error(const torch::Tensor& actual, const torch::Tensor& expected) {
  return ((actual.to(torch::kDouble) - expected).norm() / expected.norm()).item<double>();
}

TEST(ResNet, EqualsTheReferenceForwardAndBackward) {
  const auto owner = std::make_shared<ResNet>(ResNetOptions{.in_channels = 3, .width = 16});
  ResNet& encoder = *owner;
  initialise(encoder, 4);
  torch::manual_seed(2);
  {
    const torch::NoGradGuard no_grad;
    for (auto& entry : encoder.named_parameters()) {
      if (entry.key().find("bn") != std::string::npos) {
        entry.value().add_(0.2 * torch::randn_like(entry.value()));
      }
    }
  }
  const torch::Tensor input = torch::randn({4, 3, 40, 36});
  const torch::Tensor seed = torch::randn({4, 128});
  for (const bool training : {true, false}) {
    encoder.train(training);
    SCOPED_TRACE(training ? "training" : "eval");
    const torch::Tensor expected = reference_resnet(encoder, input.to(torch::kDouble), training);
    const auto expected_gradients =
        torch::autograd::grad({(expected * seed).sum()}, encoder.parameters());
    const torch::Tensor actual = encoder.forward(input);
    const auto gradients = torch::autograd::grad({(actual * seed).sum()}, encoder.parameters());
    EXPECT_LT(relative_error(actual, expected), 1e-5);
    for (size_t i = 0; i < gradients.size(); ++i) {
      EXPECT_LT(relative_error(gradients[i], expected_gradients[i]), 1e-3)
          << encoder.named_parameters()[i].key();
    }
  }
}

TEST(ResNet, TracksRunningStatisticsAsPyTorchDoes) {
  ResNet encoder({.in_channels = 1, .width = 4});
  torch::manual_seed(2);
  const torch::Tensor input = torch::randn({3, 1, 32, 32});
  const torch::Tensor stem =
      torch::conv2d(input, encoder.named_parameters()["conv1.weight"], {}, 2, 3);
  encoder.forward(input);
  const auto buffers = encoder.named_buffers();
  EXPECT_TRUE(torch::allclose(buffers["bn1.running_mean"], 0.1 * stem.mean({0, 2, 3}), 1e-4, 1e-6));
  EXPECT_TRUE(
      torch::allclose(buffers["bn1.running_var"], 0.9 + 0.1 * stem.var({0, 2, 3}), 1e-4, 1e-6));
  EXPECT_EQ(buffers["bn1.num_batches_tracked"].item<int64_t>(), 1);
  EXPECT_EQ(buffers["layer4.1.bn2.num_batches_tracked"].item<int64_t>(), 1);
}

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

TEST(Cnn, GivesMapsWhoseMeanIsItsVector) {
  const auto vectors = std::make_shared<Cnn>(2, std::vector<int64_t>{3, 5});
  const auto maps = std::make_shared<Cnn>(2, std::vector<int64_t>{3, 5}, true);
  initialise(*vectors, 4);
  initialise(*maps, 4);
  EXPECT_EQ(vectors->feature_kind(), FeatureKind::kVector);
  EXPECT_EQ(maps->feature_kind(), FeatureKind::kMap);
  torch::manual_seed(2);
  const torch::Tensor images = torch::randn({2, 2, 12, 9});
  const torch::Tensor map = maps->forward(images);
  EXPECT_EQ(map.sizes(), (std::vector<int64_t>{2, 5, 3, 3}));
  EXPECT_TRUE(torch::allclose(map.mean({2, 3}), vectors->forward(images), 1e-5, 1e-6));
  EXPECT_THROW(maps->forward(images.unsqueeze(1)), c10::Error);
}

}  // namespace
}  // namespace unbraid
