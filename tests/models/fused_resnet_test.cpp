#include "unbraid/models/kernels/fused_resnet.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>

#include "unbraid/core/autocast.h"
#include "unbraid/models/encoders/resnet.h"

namespace unbraid {
namespace {

using torch::Tensor;

bool ran_fused(const Tensor& features) {
  return features.grad_fn() &&
         features.grad_fn()->name().find("StageFunction") != std::string::npos;
}

std::vector<torch::nn::BatchNorm2dImpl*> norms_of(const ResNet& encoder) {
  std::vector<torch::nn::BatchNorm2dImpl*> norms;
  for (const auto& module : encoder.modules(false)) {
    if (auto* norm = module->as<torch::nn::BatchNorm2dImpl>()) {
      norms.push_back(norm);
    }
  }
  return norms;
}

/// Random weights. In evaluation mode those `far_from_zero` keep every ReLU's argument away from
/// zero, in some channels below it: no rounding switches a ReLU, so gradients are as exact as
/// features.
void draw_weights(ResNet& encoder, uint64_t seed, bool far_from_zero) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(static_cast<int64_t>(seed));
  for (auto& entry : encoder.named_parameters()) {
    const std::string& name = entry.key();
    Tensor& parameter = entry.value();
    if (parameter.dim() == 4) {
      parameter.normal_(0, std::sqrt(2 / static_cast<double>(parameter[0].numel())));
    } else if (name.find(".bias") == std::string::npos) {
      parameter.uniform_(0.2, 0.4);
    } else if (!far_from_zero) {
      parameter.uniform_(-0.2, 0.2);
    } else {
      parameter.uniform_(4, 5);
      if (name.find("downsample") == std::string::npos) {
        parameter.slice(0, 0, torch::nullopt, 3).fill_(-60);
      }
    }
  }
  for (torch::nn::BatchNorm2dImpl* norm : norms_of(encoder)) {
    norm->running_mean.uniform_(-0.3, 0.3);
    norm->running_var.uniform_(4, 9);
  }
}

void copy_weights(const ResNet& from, ResNet& to) {
  const torch::NoGradGuard no_grad;
  for (size_t i = 0; i < from.parameters().size(); ++i) {
    to.parameters()[i].copy_(from.parameters()[i]);
  }
  for (size_t i = 0; i < from.buffers().size(); ++i) {
    to.buffers()[i].copy_(from.buffers()[i]);
  }
}

struct Outcome {
  Tensor features;
  std::vector<Tensor> gradients;
  std::vector<Tensor> buffers;
  bool fused;
};

Outcome step(ResNet& encoder, const Tensor& images, const Tensor& seed) {
  Outcome outcome;
  const Tensor features = encoder.forward(images);
  outcome.fused = ran_fused(features);
  outcome.gradients = torch::autograd::grad({(features * seed).sum()}, encoder.parameters());
  outcome.features = features.detach();
  for (const Tensor& buffer : encoder.buffers()) {
    outcome.buffers.push_back(buffer.clone());
  }
  return outcome;
}

double relative_error(const Tensor& actual, const Tensor& expected) {
  const Tensor reference = expected.to(torch::kDouble);
  return ((actual.to(torch::kDouble) - reference).norm() / (reference.norm() + 1e-30))
      .item<double>();
}

struct Errors {
  double features = 0;
  double gradients = 0;  // of the worst parameter
  double buffers = 0;
  std::string worst;
};

Errors compare(const ResNet& encoder, const Outcome& actual, const Outcome& expected) {
  Errors errors;
  errors.features = relative_error(actual.features, expected.features);
  for (size_t i = 0; i < expected.gradients.size(); ++i) {
    const double error = relative_error(actual.gradients[i], expected.gradients[i]);
    if (error > errors.gradients) {
      errors.gradients = error;
      errors.worst = encoder.named_parameters()[i].key();
    }
  }
  for (size_t i = 0; i < expected.buffers.size(); ++i) {
    errors.buffers =
        std::max(errors.buffers, relative_error(actual.buffers[i], expected.buffers[i]));
  }
  return errors;
}

class FusedResNet : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!kernels::fused_resnet_available()) {
      GTEST_SKIP() << "this build or processor has no fused kernels";
    }
  }
};

struct Case {
  int64_t in_channels, width, batch, height, image_width;
  bool training;
  int64_t depth = 18;
  int64_t stages = 4;
};

/// The shape of the features.
std::vector<int64_t> feature_sizes(const Case& c) {
  const int64_t channels = c.width << (c.stages - 1);
  if (c.stages == 4) {
    return {c.batch, channels};
  }
  const int64_t reduction = int64_t{2} << c.stages;
  return {c.batch, channels, (c.height + reduction - 1) / reduction,
          (c.image_width + reduction - 1) / reduction};
}

/// Of one step by the kernels, or by LibTorch's operators, against the latter in double.
Errors errors_of(const Case& c, uint64_t seed, bool fused, bool bfloat16) {
  const ResNetOptions options{.in_channels = c.in_channels,
                              .width = c.width,
                              .fused = fused,
                              .depth = c.depth,
                              .stages = c.stages};
  ResNet encoder(options);
  ResNet exact(options);
  draw_weights(encoder, seed, !c.training);
  copy_weights(encoder, exact);
  exact.to(torch::kDouble);
  encoder.train(c.training);
  exact.train(c.training);
  const Tensor images = torch::randn({c.batch, c.in_channels, c.height, c.image_width});
  const Tensor weights = torch::randn(feature_sizes(c));
  const Outcome expected = step(exact, images.to(torch::kDouble), weights.to(torch::kDouble));
  const AutocastGuard autocast(torch::kCPU, bfloat16);
  const Outcome actual = step(encoder, images, weights);
  EXPECT_EQ(actual.fused, fused);
  EXPECT_FALSE(expected.fused);
  return compare(encoder, actual, expected);
}

void expect_equal_in_double(const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    SCOPED_TRACE(::testing::Message()
                 << "ResNet-" << c.depth << ", " << c.stages << " stages, " << c.in_channels
                 << " channels, width " << c.width << ", " << c.height << "x" << c.image_width
                 << (c.training ? ", training" : ", evaluation"));
    Errors errors = errors_of(c, 1, true, false);
    for (uint64_t seed = 2; seed <= 4 && errors.gradients > 1e-4; ++seed) {
      errors = errors_of(c, seed, true, false);  // rounding switched a ReLU: other weights
    }
    EXPECT_LT(errors.features, 3e-5);
    EXPECT_LT(errors.gradients, c.training ? 1e-4 : 1e-5) << errors.worst;
    EXPECT_LT(errors.buffers, 1e-5);
  }
}

TEST_F(FusedResNet, EqualsLibTorchsOperatorsInDouble) {
  expect_equal_in_double({{3, 16, 3, 65, 47, true},
                          {3, 32, 2, 33, 40, true},
                          {1, 64, 2, 40, 33, true},
                          {2, 16, 2, 37, 64, true},
                          {3, 16, 2, 65, 47, false},
                          {1, 32, 1, 8, 9, false}});
}

TEST_F(FusedResNet, EqualsThemInAnyDepthAndNumberOfStages) {
  expect_equal_in_double({{3, 16, 2, 40, 33, true, 34},
                          {1, 16, 1, 33, 40, false, 34},
                          {3, 16, 2, 35, 41, true, 18, 1},
                          {1, 16, 2, 16, 35, true, 34, 2},
                          {3, 16, 1, 33, 40, false, 18, 3},
                          {3, 16, 2, 16, 16, false, 18, 3}});
}

TEST_F(FusedResNet, IsAsExactAsLibTorchInBFloat16) {
  {
    const AutocastGuard autocast(torch::kCPU, true);
    if (!ran_fused(ResNet({.width = 16}).forward(torch::randn({2, 3, 32, 64})))) {
      GTEST_SKIP() << "this processor does not compute in bfloat16";
    }
  }
  for (const Case& c : std::vector<Case>{{5, 16, 3, 65, 47, true},
                                         {5, 16, 3, 65, 47, false},
                                         {3, 16, 2, 40, 33, true, 34},
                                         {3, 16, 2, 40, 33, true, 18, 2}}) {
    SCOPED_TRACE(::testing::Message() << "ResNet-" << c.depth << ", " << c.stages << " stages, "
                                      << (c.training ? "training" : "evaluation"));
    const Errors fused = errors_of(c, 1, true, true);
    const Errors plain = errors_of(c, 1, false, true);
    EXPECT_LT(fused.features, 1.5 * plain.features);
    EXPECT_LT(fused.gradients, 1.5 * plain.gradients) << fused.worst;
    EXPECT_LE(fused.buffers, 1.5 * plain.buffers);
  }
}

TEST_F(FusedResNet, LeavesTheGradientOfItsMapsAsItIs) {
  ResNet encoder({.width = 16, .stages = 2});
  const Tensor maps = encoder.forward(torch::randn({2, 3, 8, 8}));
  ASSERT_TRUE(ran_fused(maps));
  ASSERT_EQ(maps.sizes(), (std::vector<int64_t>{2, 32, 1, 1}));
  const Tensor seed = torch::randn_like(maps);
  const Tensor before = seed.clone();
  torch::autograd::grad({maps}, encoder.parameters(), {seed});
  EXPECT_TRUE(torch::equal(seed, before));
}

/// Gradients by name after one step with the parameters that `frozen` names out of training.
std::map<std::string, Tensor> gradients_without(
    const std::function<bool(const std::string&)>& frozen) {
  ResNet encoder({.width = 16});
  draw_weights(encoder, 1, false);
  for (auto& entry : encoder.named_parameters()) {
    entry.value().set_requires_grad(!frozen(entry.key()));
  }
  const Tensor features = encoder.forward(torch::randn({2, 3, 40, 33}));
  EXPECT_TRUE(ran_fused(features));
  (features * torch::randn({2, 128})).sum().backward();
  std::map<std::string, Tensor> gradients;
  for (const auto& entry : encoder.named_parameters()) {
    gradients[entry.key()] = entry.value().grad();
  }
  return gradients;
}

TEST_F(FusedResNet, FrozenParametersLeaveTheOthersGradientsAsTheyAre) {
  const auto all = gradients_without([](const std::string&) { return false; });
  const std::vector<std::function<bool(const std::string&)>> choices = {
      [](const std::string& name) {
        return name.starts_with("conv1.") || name.starts_with("bn1.");
      },
      [](const std::string& name) { return !name.starts_with("layer4."); },
      [](const std::string& name) { return name.starts_with("layer3."); },
      [](const std::string& name) { return !name.starts_with("conv1."); },
      [](const std::string& name) { return name.find("bn") != std::string::npos; },
      [](const std::string& name) { return name.find("downsample") == std::string::npos; },
  };
  for (size_t i = 0; i < choices.size(); ++i) {
    for (const auto& [name, gradient] : gradients_without(choices[i])) {
      EXPECT_EQ(gradient.defined(), !choices[i](name)) << i << " " << name;
      EXPECT_TRUE(!gradient.defined() || torch::equal(gradient, all.at(name))) << i << " " << name;
    }
  }
}

TEST_F(FusedResNet, TakesOverNothingThatItCannotDo) {
  const Tensor images = torch::rand({2, 3, 33, 40});
  const auto is_fused = [](
                            const ResNetOptions& options, const Tensor& input,
                            const std::function<void(ResNet&)>& change = [](ResNet&) {}) {
    ResNet encoder(options);
    change(encoder);
    return ran_fused(encoder.forward(input));
  };
  EXPECT_TRUE(is_fused({.width = 16}, images));
  EXPECT_TRUE(is_fused({.width = 16}, images.contiguous(torch::MemoryFormat::ChannelsLast)));
  EXPECT_TRUE(is_fused({.width = 48}, images));
  EXPECT_TRUE(is_fused({.width = 16, .depth = 34}, images));
  EXPECT_TRUE(is_fused({.width = 16, .stages = 2}, images));
  EXPECT_FALSE(is_fused({.width = 16, .depth = 50}, images));
  EXPECT_FALSE(is_fused({.width = 16, .fused = false}, images));
  EXPECT_FALSE(is_fused({.width = 24}, images));
  EXPECT_FALSE(is_fused({.width = 16, .small_stem = true}, images));
  EXPECT_FALSE(is_fused({.in_channels = 4, .width = 16}, torch::rand({2, 4, 33, 40})));
  EXPECT_FALSE(is_fused({.width = 16}, torch::rand({2, 3, 7, 40})));
  EXPECT_FALSE(is_fused({.width = 16}, images.detach().clone().requires_grad_()));
  EXPECT_FALSE(is_fused({.width = 16}, images.to(torch::kDouble),
                        [](ResNet& encoder) { encoder.to(torch::kDouble); }));
  const auto with_norm = [&](const std::function<void(torch::nn::BatchNorm2dImpl&)>& change) {
    return is_fused({.width = 16}, images, [&](ResNet& encoder) { change(*norms_of(encoder)[7]); });
  };
  EXPECT_FALSE(with_norm([](auto& norm) { norm.eval(); }));
  EXPECT_FALSE(with_norm([](auto& norm) { norm.options.momentum(torch::nullopt); }));
  EXPECT_FALSE(with_norm([](auto& norm) { norm.options.track_running_stats(false); }));
  EXPECT_FALSE(with_norm([](auto& norm) {
    norm.running_mean = torch::Tensor();
    norm.running_var = torch::Tensor();
  }));
}

TEST_F(FusedResNet, RaisesWhatLibTorchRaises) {
  ResNet encoder({.width = 16});
  EXPECT_THROW(encoder.forward(torch::rand({1, 3, 32, 32})),
               std::exception);  // one value a channel
  EXPECT_THROW(encoder.forward(torch::rand({2, 1, 32, 32})), c10::Error);
  EXPECT_THROW(encoder.forward(torch::rand({2, 3, 32, 32}).to(torch::kDouble)), c10::Error);
  EXPECT_THROW(encoder.forward(torch::rand({2, 3, 0, 32})), std::exception);
  const Tensor loss = encoder.forward(torch::rand({2, 3, 32, 32})).sum();
  {
    const torch::NoGradGuard no_grad;
    encoder.parameters()[0].mul_(2);
  }
  EXPECT_THROW(loss.backward(), c10::Error);  // a weight changed in between
}

TEST_F(FusedResNet, ComputesOnlyTheGradientsThatAreNeeded) {
  ResNet fused({.width = 16});
  ResNet plain({.width = 16, .fused = false});
  draw_weights(fused, 5, true);
  copy_weights(fused, plain);
  fused.eval();
  plain.eval();
  const Tensor images = torch::randn({2, 3, 40, 48});
  for (const std::string trained :
       {"layer4", "layer2.1.conv2.weight", "layer3.0.downsample", "bn1", "conv1.weight", "none"}) {
    SCOPED_TRACE(trained);
    std::vector<Tensor> gradients[2];
    int number = 0;
    for (ResNet* encoder : {&fused, &plain}) {
      for (auto& entry : encoder->named_parameters()) {
        entry.value().set_requires_grad(entry.key().rfind(trained, 0) == 0);
        entry.value().mutable_grad() = Tensor();
      }
      const Tensor features = encoder->forward(images);
      EXPECT_EQ(features.requires_grad(), trained != "none");
      if (features.requires_grad()) {
        EXPECT_EQ(ran_fused(features), encoder == &fused);
        features.square().sum().backward();
      }
      for (const Tensor& parameter : encoder->parameters()) {
        gradients[number].push_back(parameter.grad());
      }
      ++number;
    }
    for (size_t i = 0; i < gradients[1].size(); ++i) {
      ASSERT_EQ(gradients[0][i].defined(), gradients[1][i].defined());
      if (gradients[1][i].defined()) {
        EXPECT_LT(relative_error(gradients[0][i], gradients[1][i]), 1e-5);
      }
    }
  }
}

TEST_F(FusedResNet, HasNoSecondOrderGradientsAndSaysSo) {
  ResNet encoder({.width = 16});
  const Tensor features = encoder.forward(torch::rand({2, 3, 33, 40}));
  const auto gradients = torch::autograd::grad({features.sum()}, encoder.parameters(), {}, true,
                                               /*create_graph=*/true);
  try {
    torch::autograd::grad({gradients[0].square().sum()}, {encoder.parameters()[1]});
    FAIL() << "gave a gradient";
  } catch (const std::exception& error) {
    EXPECT_NE(std::string(error.what()).find("no second-order gradients"), std::string::npos)
        << error.what();
  }
}

TEST_F(FusedResNet, ServesSeveralNetworksShapesAndPassesInAnyOrder) {
  ResNet first({.in_channels = 1, .width = 16});
  ResNet second({.width = 32});
  draw_weights(first, 1, true);
  draw_weights(second, 2, true);
  const Tensor large = torch::randn({3, 1, 33, 50});
  const Tensor small = torch::randn({2, 1, 50, 33});
  const Tensor other = torch::randn({2, 3, 40, 40});
  first.eval();
  second.eval();
  const auto gradients_of = [](ResNet& encoder, const Tensor& images) {
    return torch::autograd::grad({encoder.forward(images).sum()}, encoder.parameters());
  };
  const auto expected_large = gradients_of(first, large);
  const auto expected_small = gradients_of(first, small);
  const auto expected_other = gradients_of(second, other);
  const Tensor loss_large = first.forward(large).sum();
  const Tensor loss_other = second.forward(other).sum();
  const Tensor loss_small = first.forward(small).sum();
  const auto expect_equal = [](const auto& actual, const auto& expected) {
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_TRUE(torch::equal(actual[i], expected[i]));
    }
  };
  expect_equal(torch::autograd::grad({loss_large}, first.parameters(), {}, true), expected_large);
  expect_equal(torch::autograd::grad({loss_small}, first.parameters()), expected_small);
  expect_equal(torch::autograd::grad({loss_large}, first.parameters()), expected_large);
  expect_equal(torch::autograd::grad({loss_other}, second.parameters()), expected_other);
  EXPECT_THROW(torch::autograd::grad({loss_large}, first.parameters()), std::exception);
}

TEST_F(FusedResNet, GivesTheSameFeaturesWithoutGradientsAndKeepsItsInput) {
  ResNet encoder({.width = 16});
  draw_weights(encoder, 4, true);
  const Tensor images = torch::randn({2, 3, 47, 65});
  const Tensor before = images.clone();
  encoder.eval();
  const Tensor expected = encoder.forward(images);
  {
    const torch::NoGradGuard no_grad;
    EXPECT_TRUE(torch::equal(encoder.forward(images), expected));
  }
  {
    const c10::InferenceMode inference;
    EXPECT_TRUE(torch::equal(encoder.forward(images), expected));
  }
  EXPECT_TRUE(torch::equal(images, before));
}

TEST_F(FusedResNet, AnnouncesThatItMovesTheRunningStatistics) {
  ResNet encoder({.width = 16});
  const auto* norm = norms_of(encoder)[3];
  const auto version = norm->running_var._version();
  encoder.forward(torch::rand({2, 3, 33, 40}));
  EXPECT_GT(norm->running_mean._version(), 0);
  EXPECT_GT(norm->running_var._version(), version);
  EXPECT_EQ(norm->num_batches_tracked.item<int64_t>(), 1);
  encoder.eval();
  encoder.forward(torch::rand({2, 3, 33, 40}));
  EXPECT_EQ(norm->num_batches_tracked.item<int64_t>(), 1);
}

TEST_F(FusedResNet, TakesWeightsOfAnyStridesAndGivesGradientsTheSame) {
  ResNet encoder({.width = 16});
  draw_weights(encoder, 6, true);
  encoder.eval();
  const Tensor images = torch::randn({2, 3, 33, 40});
  const auto gradients_of = [&] {
    return torch::autograd::grad({encoder.forward(images).sum()}, encoder.parameters());
  };
  const auto expected = gradients_of();
  const std::function<Tensor(const Tensor&)> layouts[] = {
      [](const Tensor& weight) { return weight.contiguous(torch::MemoryFormat::ChannelsLast); },
      [](const Tensor& weight) {
        return weight.permute({3, 1, 0, 2}).contiguous().permute({2, 1, 3, 0});
      },
  };
  for (const auto& layout : layouts) {
    for (Tensor& parameter : encoder.parameters()) {
      if (parameter.dim() == 4) {
        parameter.set_data(layout(parameter.detach()));
      }
    }
    const auto actual = gradients_of();
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_TRUE(torch::equal(actual[i], expected[i]));
      EXPECT_EQ(actual[i].strides(), encoder.parameters()[i].strides());
    }
  }
}

}  // namespace
}  // namespace unbraid
