#include "unbraid/methods/mmpareto.h"

#include <cmath>

#include <gtest/gtest.h>

#include "methods/testing.h"

namespace unbraid {
namespace {

using namespace unbraid::testing;  // NOLINT(google-build-using-namespace)

TEST(MmPareto, WeightsAreThoseOfTheReferenceCode) {
  const auto of_check = MmPareto::weights(1.0, -0.5, 0.5);  // g_J = (1, 0), g_m = (-0.5, 0.5)
  EXPECT_NEAR(of_check[0], 0.4, 1e-12);
  EXPECT_NEAR(of_check[1], 0.6, 1e-12);
  const torch::Tensor shortest = of_check[0] * torch::tensor({1.0, 0.0}, torch::kDouble) +
                                 of_check[1] * torch::tensor({-0.5, 0.5}, torch::kDouble);
  EXPECT_NEAR(shortest.square().sum().item<double>(), 0.1, 1e-12);
  EXPECT_EQ(MmPareto::weights(1, 0.1, 1)[0], 0.5);
  EXPECT_EQ(MmPareto::weights(0, 0, 1)[0], 0.999);
  EXPECT_NEAR(MmPareto::weights(1, 0, 0)[0], 0.001, 1e-12);
}

/// The formula, each loss backpropagated on a graph of its own.
Gradients by_hand(const Batch& batch, const std::string& fusion, double gamma) {
  Gradients expected =
      naive_gradients(*make_model(fusion, 2), batch.inputs, GradientRoute::auxiliary(1));
  const auto joint = naive_gradients(*make_model(fusion, 2), batch.inputs, GradientRoute::joint());
  const auto own = naive_gradients(*make_model(fusion, 2), batch.inputs, GradientRoute::unimodal());
  for (const std::string& prefix :
       {std::string("encoders.audio."), std::string("encoders.image.")}) {
    double aa = 0;
    double ab = 0;
    double bb = 0;
    for (const auto& [name, gradient] : joint) {
      if (name.starts_with(prefix)) {
        aa += gradient.square().sum().item<double>();
        ab += (gradient * own.at(name)).sum().item<double>();
        bb += own.at(name).square().sum().item<double>();
      }
    }
    double k = 0.5;
    if (ab <= 0) {
      k = (bb - ab) / (aa + bb - 2 * ab);
    }
    for (auto& [name, gradient] : expected) {
      if (name.starts_with(prefix)) {
        const torch::Tensor h = 2 * k * joint.at(name) + 2 * (1 - k) * own.at(name);
        const double stretch =
            std::max(1.0, gradient.norm().item<double>() / h.norm().item<double>());
        gradient = gamma * stretch * h;
      }
    }
  }
  return expected;
}

TEST(MmPareto, LearnsFromTheFormula) {
  for (const char* fusion : {"concat", "gated", "sum"}) {
    SCOPED_TRACE(fusion);
    const Batch batch = make_batch(2);
    const auto method = read({{"type", text("mmpareto")}, {"gamma", number(1.2)}});
    const auto expected = by_hand(batch, fusion, 1.2);
    for (const auto& [name, gradient] : gradients_by(*method, *make_model(fusion, 2), batch)) {
      EXPECT_TRUE(torch::allclose(gradient, expected.at(name), 1e-8, 1e-11)) << name;
    }
    EXPECT_GE(method->choices().at("cosine.audio"), -1.0);
  }
}

TEST(MmPareto, AddsToGradientsThatThereAre) {
  const Batch batch = make_batch(2);
  const auto method = read({{"type", text("mmpareto")}});
  const auto once = gradients_by(*method, *make_model("sum", 2), batch);
  MultimodalModel model = make_model("sum", 2);
  for (const double scale : {0.25, 0.75}) {
    method->backward({.model = *model, .batch = batch, .task = *classification(), .scale = scale});
  }
  for (const auto& [name, gradient] : gradients_of(*model)) {
    EXPECT_TRUE(same(gradient, once.at(name))) << name;
  }
}

TEST(MmPareto, LeavesFrozenEncodersAlone) {
  MultimodalModel model = make_model("concat", 2);
  for (torch::Tensor& parameter : model->encoder(0).parameters()) {
    parameter.set_requires_grad(false);
  }
  const auto method = read({{"type", text("mmpareto")}});
  for (const auto& [name, gradient] : gradients_by(*method, *model, make_incomplete_batch(2))) {
    EXPECT_EQ(gradient.defined(), !name.starts_with("encoders.audio.")) << name;
  }
}

}  // namespace
}  // namespace unbraid
