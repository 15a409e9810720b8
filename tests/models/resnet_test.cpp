#include "unbraid/models/encoders/resnet.h"

#include <gtest/gtest.h>

#include <array>

#include "unbraid/models/initialisation.h"

namespace unbraid {
namespace {

int64_t count_parameters(const torch::nn::Module& module) {
  int64_t count = 0;
  for (const torch::Tensor& parameter : module.parameters()) {
    count += parameter.numel();
  }
  return count;
}

TEST(ResNet, HasTorchvisionsNamesAndShapes) {
  const ResNet encoder({.in_channels = 1});
  // torchvision's resnet18: 11,689,512 with fc (513,000) and 3 input channels (2 * 64 * 49 more).
  EXPECT_EQ(count_parameters(encoder), 11689512 - 513000 - 2 * 64 * 49);
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

TEST(ResNet, FewChannelsInOddBatchesAreTheSumsTheyShouldBe) {
  at::set_num_threads(2);
  torch::manual_seed(1);
  ResNet encoder({.in_channels = 1, .width = 8, .small_stem = true});
  ResNet exact({.in_channels = 1, .width = 8, .small_stem = true});
  const auto weights = encoder.named_parameters();
  for (auto& parameter : exact.named_parameters()) {
    parameter.value().set_data(weights[parameter.key()].detach().to(torch::kDouble));
  }
  exact.to(torch::kDouble);
  for (int round = 0; round < 5; ++round) {
    const torch::Tensor images = torch::randn({9, 1, 32, 32});
    encoder.zero_grad();
    exact.zero_grad();
    const torch::Tensor found = encoder.forward(images);
    const torch::Tensor expected = exact.forward(images.to(torch::kDouble));
    EXPECT_TRUE(torch::allclose(found.to(torch::kDouble), expected, 1e-3, 1e-4));
    found.square().sum().backward();
    expected.square().sum().backward();
    const auto wanted = exact.named_parameters();
    for (const auto& parameter : encoder.named_parameters()) {
      const torch::Tensor gradient = wanted[parameter.key()].grad();
      EXPECT_LT((parameter.value().grad().to(torch::kDouble) - gradient).abs().max().item<double>(),
                1e-3 * (gradient.abs().max().item<double>() + 1e-3))
          << parameter.key();
    }
  }
}

/// What torchvision's own tables say of its models without fc.
TEST(ResNet, HasTorchvisionsDepths) {
  struct Published {
    int64_t depth, parameters, feature;
    size_t tensors;
    std::array<int, 4> blocks;
  };
  for (const Published& one : {Published{18, 11176512, 512, 60, {2, 2, 2, 2}},
                               Published{34, 21284672, 512, 108, {3, 4, 6, 3}},
                               Published{50, 23508032, 2048, 159, {3, 4, 6, 3}}}) {
    SCOPED_TRACE(one.depth);
    const ResNet encoder({.depth = one.depth});
    EXPECT_EQ(count_parameters(encoder), one.parameters);
    EXPECT_EQ(encoder.feature_size(), one.feature);
    EXPECT_EQ(encoder.parameters().size(), one.tensors);
    EXPECT_EQ(encoder.buffers().size(), one.tensors);
    const auto p = encoder.named_parameters();
    for (int64_t layer = 0; layer < 4; ++layer) {
      const std::string name = "layer" + std::to_string(layer + 1) + ".";
      const int blocks = one.blocks[static_cast<size_t>(layer)];
      EXPECT_FALSE(p.contains(name + std::to_string(blocks) + ".conv1.weight"));
      EXPECT_EQ(p.contains(name + "0.downsample.0.weight"), layer > 0 || one.depth == 50);
      const int64_t width = int64_t{64} << layer;
      for (int block = 0; block < blocks; ++block) {
        const std::string at = name + std::to_string(block);
        if (one.depth == 50) {
          const int64_t before = layer == 0 ? 64 : 2 * width;
          EXPECT_EQ(p[at + ".conv1.weight"].sizes(),
                    (std::vector<int64_t>{width, block == 0 ? before : 4 * width, 1, 1}));
          EXPECT_EQ(p[at + ".conv2.weight"].sizes(), (std::vector<int64_t>{width, width, 3, 3}));
          EXPECT_EQ(p[at + ".conv3.weight"].sizes(),
                    (std::vector<int64_t>{4 * width, width, 1, 1}));
          EXPECT_EQ(p[at + ".bn3.weight"].sizes(), (std::vector<int64_t>{4 * width}));
        } else {
          EXPECT_EQ(p[at + ".conv2.weight"].sizes(), (std::vector<int64_t>{width, width, 3, 3}));
        }
      }
    }
  }
  EXPECT_THROW(ResNet({.depth = 101}), c10::Error);
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

/// ResNet from plain functions in double precision, by the numbers of the paper, up to the last
/// stage that the module has: its maps.
torch::Tensor reference_maps(const torch::nn::Module& module, torch::Tensor x, bool training) {
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
  const bool bottleneck = p.contains("layer1.0.conv3.weight");
  for (int layer = 1; p.contains("layer" + std::to_string(layer) + ".0.conv1.weight"); ++layer) {
    std::string name = "layer" + std::to_string(layer) + ".0";
    for (int block = 0; p.contains(name + ".conv1.weight");) {
      const int64_t stride = layer > 1 && block == 0 ? 2 : 1;
      const torch::Tensor shortcut =
          p.contains(name + ".downsample.0.weight")
              ? norm(convolve(x, name + ".downsample.0", stride), name + ".downsample.1")
              : x;
      torch::Tensor hidden =
          torch::relu(norm(convolve(x, name + ".conv1", bottleneck ? 1 : stride), name + ".bn1"));
      hidden = norm(convolve(hidden, name + ".conv2", bottleneck ? stride : 1), name + ".bn2");
      if (bottleneck) {
        hidden = norm(convolve(torch::relu(hidden), name + ".conv3", 1), name + ".bn3");
      }
      x = torch::relu(hidden + shortcut);
      name = "layer" + std::to_string(layer) + "." + std::to_string(++block);
    }
  }
  return x;
}

double relative_error(const torch::Tensor& actual, const torch::Tensor& expected) {
  return ((actual.to(torch::kDouble) - expected).norm() / expected.norm()).item<double>();
}

TEST(ResNet, EqualsTheReferenceForwardAndBackward) {
  for (const ResNetOptions& options :
       {ResNetOptions{.width = 16}, ResNetOptions{.width = 8, .depth = 34},
        ResNetOptions{.width = 8, .depth = 50}, ResNetOptions{.width = 8, .stages = 1},
        ResNetOptions{.width = 16, .stages = 3},
        ResNetOptions{.width = 4, .depth = 50, .stages = 2}}) {
    SCOPED_TRACE(::testing::Message() << options.depth << ", stages " << options.stages);
    const auto owner = std::make_shared<ResNet>(options);
    ResNet& encoder = *owner;
    initialise(encoder, 4);
    torch::manual_seed(2);
    // The fused kernels are compared in their own test, the rest is as exact as its type.
    const bool exact = options.width != 16;
    if (exact) {
      encoder.to(torch::kDouble);
    }
    {
      const torch::NoGradGuard no_grad;
      for (auto& entry : encoder.named_parameters()) {
        if (entry.key().find("bn") != std::string::npos) {
          entry.value().add_(0.2 * torch::randn_like(entry.value()));
        }
      }
    }
    EXPECT_EQ(encoder.feature_kind(),
              options.stages < 4 ? FeatureKind::kMap : FeatureKind::kVector);
    const torch::Tensor input = torch::randn({4, 3, 40, 36});
    for (const bool training : {true, false}) {
      encoder.train(training);
      SCOPED_TRACE(training ? "training" : "eval");
      torch::Tensor expected = reference_maps(encoder, input.to(torch::kDouble), training);
      EXPECT_EQ(expected.size(1), encoder.feature_size());
      if (options.stages == 4) {
        expected = expected.mean({2, 3});
      }
      const torch::Tensor seed = torch::randn_like(expected);
      const auto expected_gradients =
          torch::autograd::grad({(expected * seed).sum()}, encoder.parameters());
      const torch::Tensor actual = encoder.forward(exact ? input.to(torch::kDouble) : input);
      ASSERT_EQ(actual.sizes(), expected.sizes());
      const auto gradients = torch::autograd::grad({(actual * seed).sum()}, encoder.parameters());
      EXPECT_LT(relative_error(actual, expected), exact ? 1e-12 : 1e-5);
      for (size_t i = 0; i < gradients.size(); ++i) {
        EXPECT_LT(relative_error(gradients[i], expected_gradients[i]), exact ? 1e-10 : 1e-3)
            << encoder.named_parameters()[i].key();
      }
    }
  }
}

TEST(ResNet, AveragesTheMapsOfClips) {
  const torch::NoGradGuard no_grad;
  ResNet encoder({.in_channels = 1, .width = 8, .stages = 2});
  encoder.eval();
  torch::manual_seed(1);
  const torch::Tensor clip = torch::randn({2, 3, 1, 32, 24});
  const torch::Tensor maps = encoder.forward(clip);
  ASSERT_EQ(maps.sizes(), (std::vector<int64_t>{2, 16, 4, 3}));
  const torch::Tensor mean =
      (encoder.forward(clip.select(1, 0)) + encoder.forward(clip.select(1, 1)) +
       encoder.forward(clip.select(1, 2))) /
      3;
  EXPECT_TRUE(torch::allclose(maps, mean, 1e-4, 1e-5));
  EXPECT_THROW(ResNet({.stages = 0}), c10::Error);
  EXPECT_THROW(ResNet({.stages = 5}), c10::Error);
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

}  // namespace
}  // namespace unbraid
