#include "unbraid/training/optimizer.h"

#include <cmath>

#include <gtest/gtest.h>

#include "unbraid/core/error.h"

namespace unbraid {
namespace {

using Parameters = torch::OrderedDict<std::string, torch::Tensor>;

torch::Tensor parameter(std::vector<float> values) {
  return torch::tensor(values).set_requires_grad(true);
}

void set_gradient(torch::Tensor& of, std::vector<float> values) {
  of.mutable_grad() = torch::tensor(values).to(of.scalar_type());
}

// Two parameters, gradients (3, 4) and (12): norm 13, clipped to 6.5, so halved. Momentum 0.9,
// weight decay 0.1, lr 0.1.
//   p = 1: g = 1.5 + 0.1 = 1.6, v = 1.6, p = 1 - 0.16 = 0.84
//   p = 2: g = 2 + 0.2 = 2.2,   v = 2.2, p = 2 - 0.22 = 1.78
//   p = 5: g = 6 + 0.5 = 6.5,   v = 6.5, p = 5 - 0.65 = 4.35
// A second step with gradient 0: g = 0.1 p, v = 0.9 v + g.
//   v = 1.44 + 0.084 = 1.524, p = 0.84 - 0.1524 = 0.6876
TEST(Optimizer, SgdStepWithMomentumDecayAndClippingIsTheOneWorkedOutByHand) {
  for (const auto dtype : {torch::kFloat, torch::kDouble}) {  // the fused pass and the general one
    torch::Tensor first = torch::tensor({1.0, 2.0}).to(dtype).set_requires_grad(true);
    torch::Tensor second = torch::tensor({5.0}).to(dtype).set_requires_grad(true);
    torch::nn::Module module;
    module.register_parameter("first", first);
    module.register_parameter("second", second);
    set_gradient(first, {3, 4});
    set_gradient(second, {12});
    Optimizer optimizer({.type = "sgd", .weight_decay = 0.1, .momentum = 0.9},
                        module.named_parameters());
    const double norm = gradient_norms(module).at("");
    EXPECT_DOUBLE_EQ(norm, 13.0);
    EXPECT_NEAR(clip_factor(norm, 6.5), 0.5, 1e-6);
    optimizer.step(0.1, clip_factor(norm, 6.5));
    EXPECT_TRUE(torch::allclose(first, torch::tensor({0.84, 1.78}).to(dtype), 1e-6));
    EXPECT_TRUE(torch::allclose(second, torch::tensor({4.35}).to(dtype), 1e-6));
    set_gradient(first, {0, 0});
    optimizer.zero_grad();
    set_gradient(first, {0, 0});
    optimizer.step(0.1);
    EXPECT_NEAR(first[0].item<double>(), 0.6876, 1e-6);
    EXPECT_NEAR(second[0].item<double>(), 4.35, 1e-6);  // undefined gradient: no momentum, no decay
  }
}

TEST(ClipFactor, OnlyShrinks) {
  EXPECT_EQ(clip_factor(3.0, 40.0), 1.0);
  EXPECT_EQ(clip_factor(3.0, 0.0), 1.0);
  EXPECT_NEAR(clip_factor(80.0, 40.0), 0.5, 1e-6);
}

TEST(GradientNorms, AreByPartAndTogether) {
  torch::nn::Module root;
  auto encoders = root.register_module("encoders", std::make_shared<torch::nn::Module>());
  auto audio = encoders->register_module("audio", std::make_shared<torch::nn::Module>());
  auto fusion = root.register_module("fusion", std::make_shared<torch::nn::Module>());
  torch::Tensor a = audio->register_parameter("w", parameter({0, 0}));
  torch::Tensor b = fusion->register_parameter("w", parameter({0}));
  fusion->register_parameter("unreached", parameter({0}));
  set_gradient(a, {3, 4});
  set_gradient(b, {12});
  const auto norms = gradient_norms(root);
  EXPECT_EQ(norms.size(), 3);
  EXPECT_DOUBLE_EQ(norms.at("encoders.audio"), 5.0);
  EXPECT_DOUBLE_EQ(norms.at("fusion"), 12.0);
  EXPECT_DOUBLE_EQ(norms.at(""), 13.0);
}

/// The formulas of the papers in plain double precision.
struct Reference {
  OptimizerOptions options;
  double p;
  double first = 0;
  double second = 0;
  int t = 0;

  void step(double lr, double g) {
    ++t;
    if (options.type == "adamw") {
      p -= lr * options.weight_decay * p;
    } else {
      g += options.weight_decay * p;
    }
    if (options.type == "sgd") {
      first = t == 1 ? g : options.momentum * first + g;
      p -= lr * (options.nesterov ? g + options.momentum * first : first);
      return;
    }
    first = options.beta1 * first + (1 - options.beta1) * g;
    second = options.beta2 * second + (1 - options.beta2) * g * g;
    const double mean = first / (1 - std::pow(options.beta1, t));
    const double variance = second / (1 - std::pow(options.beta2, t));
    p -= lr * mean / (std::sqrt(variance) + options.eps);
  }
};

TEST(Optimizer, FollowsItsFormulaOverSeveralSteps) {
  const std::vector<OptimizerOptions> rules{
      {.type = "sgd", .weight_decay = 0.01, .momentum = 0.0},
      {.type = "sgd", .weight_decay = 0.01, .momentum = 0.8},
      {.type = "sgd", .weight_decay = 0.01, .momentum = 0.8, .nesterov = true},
      {.type = "adam", .weight_decay = 0.05},
      {.type = "adamw", .weight_decay = 0.05},
  };
  for (const OptimizerOptions& rule : rules) {
    for (const auto dtype : {torch::kFloat, torch::kDouble}) {
      SCOPED_TRACE(rule.type + (rule.nesterov ? " nesterov " : " ") + c10::toString(dtype));
      torch::Tensor p = torch::tensor({0.7}, dtype).set_requires_grad(true);
      Parameters parameters;
      parameters.insert("p", p);
      Optimizer optimizer(rule, parameters);
      Reference reference{rule, 0.7};
      for (const double g : {0.5, -0.25, 1.5, 0.0, 2.0}) {
        p.mutable_grad() = torch::tensor({2 * g}, dtype);
        optimizer.step(0.03, 0.5);
        reference.step(0.03, g);
        EXPECT_NEAR(p.item<double>(), reference.p, dtype == torch::kFloat ? 1e-6 : 1e-9);
      }
    }
  }
}

/// A parameter `name` of value 1 with the gradient 1.
void add_parameter(Parameters& parameters, const std::string& name) {
  torch::Tensor one = parameter({1});
  set_gradient(one, {1});
  parameters.insert(name, one);
}

// sgd: 1 - lr lr_scale (1 + decay); adamw: 1 - lr lr_scale (decay + 1).
TEST(Optimizer, GroupsHaveARateAndADecayOfTheirOwn) {
  for (const char* type : {"sgd", "adamw"}) {
    SCOPED_TRACE(type);
    Parameters parameters;
    for (const char* name : {"audio.bias", "audio.weight", "fusion.weight"}) {
      add_parameter(parameters, name);
    }
    Optimizer optimizer({.type = type,
                         .weight_decay = 0.5,
                         .groups = {{"*.bias", 2.0, 0.0}, {"audio.*", 0.1, 0.25}}},
                        parameters);
    optimizer.step(0.01);
    EXPECT_NEAR(parameters["audio.bias"].item<double>(), 1 - 0.02, 1e-6);
    EXPECT_NEAR(parameters["audio.weight"].item<double>(), 1 - 0.001 * 1.25, 1e-6);
    EXPECT_NEAR(parameters["fusion.weight"].item<double>(), 1 - 0.01 * 1.5, 1e-6);
  }
}

TEST(Optimizer, GroupsWithoutParametersAreRefused) {
  Parameters parameters;
  add_parameter(parameters, "audio.weight");
  const auto refusal = [&](const std::vector<ParameterGroup>& groups) -> std::string {
    try {
      const Optimizer optimizer({.groups = groups}, parameters);
    } catch (const RecipeError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_NE(refusal({{"audoi.*"}})
                .find("optimizer.groups: expected a pattern that matches a "
                      "parameter, got \"audoi.*\"; did you mean \"audio.*\"?"),
            std::string::npos)
      << refusal({{"audoi.*"}});
  EXPECT_EQ(refusal({{"*"}, {"audio.*"}}),
            "optimizer.groups: expected parameters for \"audio.*\", but patterns before it match "
            "all of them");
}

TEST(Optimizer, TakesChannelsLastParameters) {
  torch::Tensor p = torch::randn({4, 3, 3, 3}).contiguous(torch::MemoryFormat::ChannelsLast);
  p.set_requires_grad(true);
  const torch::Tensor before = p.detach().clone();
  const torch::Tensor g = torch::randn({4, 3, 3, 3});
  for (const auto format : {torch::MemoryFormat::ChannelsLast, torch::MemoryFormat::Contiguous}) {
    Parameters parameters;
    parameters.insert("p", p);
    Optimizer optimizer({.momentum = 0.0}, parameters);
    p.mutable_grad() = g.contiguous(format);
    {
      const torch::NoGradGuard no_grad;
      p.copy_(before);
    }
    optimizer.step(0.1);
    EXPECT_TRUE(torch::allclose(p, before - 0.1 * g, 1e-6, 1e-7));
  }
}

TEST(Optimizer, TellsAutogradThatItWrote) {
  torch::Tensor p = parameter({2});
  Parameters parameters;
  parameters.insert("p", p);
  Optimizer optimizer({}, parameters);
  const torch::Tensor loss = (p * p).sum();
  set_gradient(p, {1});
  optimizer.step(0.1);
  EXPECT_THROW(loss.backward(), c10::Error);
}

TEST(Optimizer, StateRoundTripContinuesExactly) {
  for (const char* type : {"sgd", "adam"}) {
    SCOPED_TRACE(type);
    const OptimizerOptions rule{.type = type, .weight_decay = 0.01};
    torch::Tensor one = parameter({1, -2, 3});
    torch::Tensor never = parameter({5});
    Parameters parameters;
    parameters.insert("one", one);
    parameters.insert("never", never);
    Optimizer optimizer(rule, parameters);
    set_gradient(one, {0.1F, 0.2F, -0.3F});
    optimizer.step(0.1);
    NamedTensors saved;
    for (const auto& [name, tensor] : optimizer.state()) {
      saved.emplace_back(name, tensor.clone());
    }
    torch::Tensor copy = one.detach().clone().set_requires_grad(true);
    Parameters copies;
    copies.insert("one", copy);
    copies.insert("never", never);
    Optimizer continued(rule, copies);
    continued.load_state(saved);
    set_gradient(one, {0.4F, -0.1F, 0.2F});
    set_gradient(copy, {0.4F, -0.1F, 0.2F});
    optimizer.step(0.05);
    continued.step(0.05);
    EXPECT_TRUE(torch::equal(one, copy));
  }
}

TEST(Optimizer, RefusesAStateThatIsNotItsOwn) {
  torch::Tensor p = parameter({1, 2});
  Parameters parameters;
  parameters.insert("p", p);
  Optimizer optimizer({}, parameters);
  EXPECT_THROW(optimizer.load_state({{"first.other", torch::zeros({2})}}), StorageError);
  EXPECT_THROW(optimizer.load_state({{"step.p", torch::tensor(int64_t{1})}}), StorageError);
  EXPECT_THROW(
      optimizer.load_state({{"step.p", torch::tensor(int64_t{1})}, {"first.p", torch::zeros({3})}}),
      StorageError);
  EXPECT_NO_THROW(optimizer.load_state(
      {{"step.p", torch::tensor(int64_t{1})}, {"first.p", torch::zeros({2})}}));
}

}  // namespace
}  // namespace unbraid
