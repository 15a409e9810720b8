#include "unbraid/methods/opm.h"

#include <cmath>

#include <gtest/gtest.h>

#include "methods/testing.h"

namespace unbraid {
namespace {

using namespace unbraid::testing;  // NOLINT(google-build-using-namespace)

TEST(Opm, RatesAreThoseOfTheReferenceCode) {
  const auto rates = Opm::drop_rates({0.6, 0.4}, 0.4, 0.5);
  EXPECT_NEAR(rates[0], 0.492423, 1e-6);
  EXPECT_EQ(rates[1], 0);
  EXPECT_EQ(Opm::drop_rates({0.5, 0.5}, 0.4, 0.5), (std::vector<double>{0, 0}));
  EXPECT_EQ(Opm::drop_rates({0.9, 0.1}, 0.9, 1), (std::vector<double>{1, 0}));
  // Of three: against the sum of the others.
  EXPECT_EQ(Opm::drop_rates({0.5, 0.3, 0.3}, 0.4, 0.5), (std::vector<double>{0, 0, 0}));
  EXPECT_EQ(Opm::drop_rates({0.5, std::nan("")}, 0.4, 0.5), (std::vector<double>{0, 0}));
}

TEST(Opm, WithoutLuckItIsJointTraining) {
  const Batch batch = make_batch(2);
  const auto expected =
      naive_gradients(*make_model("sum", 2), batch.inputs, GradientRoute::joint());
  for (const auto& method : {read({{"type", text("opm")}, {"probability", number(0)}}),
                             read({{"type", text("opm")}, {"starts", integer(9)}})}) {
    for (const auto& [name, gradient] : gradients_by(*method, *make_model("sum", 2), batch)) {
      EXPECT_TRUE(same(gradient, expected.at(name))) << name;
    }
  }
}

TEST(Opm, WhatStaysIsScaledAndTheStrongerModalityIsDropped) {
  const Batch batch = make_batch(2);
  // With this rate the stronger one loses every sample, theta is a half.
  const auto method = read({{"type", text("opm")},
                            {"probability", number(1)},
                            {"rate", number(1)},
                            {"alpha", number(0)}});
  const auto gradients = gradients_by(*method, *make_model("concat", 2), batch);
  const size_t stronger = method->choices().at("drop.audio") == 1 ? 0 : 1;
  EXPECT_EQ(method->choices().at("drop.audio") + method->choices().at("drop.image"), 1);
  MultimodalModel reference = make_model("concat", 2);
  const size_t weaker = 1 - stronger;
  cross_entropy(
      reference->alone(weaker, reference->encode(weaker, batch.inputs[weaker]) / (0.5 + 1e-5)))
      .backward();
  const auto expected = gradients_of(*reference);
  for (const auto& [name, gradient] : gradients) {
    EXPECT_TRUE(same(gradient, expected.at(name))) << name;
  }
}

TEST(Opm, DropsAboutAsOftenAsItSays) {
  const auto method = read({{"type", text("opm")}, {"probability", number(0.3)}});
  MultimodalModel model = make_model("sum", 2);
  const Batch batch = make_incomplete_batch(2);
  torch::manual_seed(2);
  int dropped = 0;
  constexpr int kSteps = 400;
  for (int i = 0; i < kSteps; ++i) {
    for (const auto& [name, gradient] : gradients_by(*method, *model, batch)) {
      EXPECT_TRUE(!gradient.defined() || torch::isfinite(gradient).all().item<bool>()) << name;
    }
    dropped += method->choices().empty() ? 0 : 1;
  }
  EXPECT_NEAR(dropped / static_cast<double>(kSteps), 0.3, 0.07);
}

}  // namespace
}  // namespace unbraid
