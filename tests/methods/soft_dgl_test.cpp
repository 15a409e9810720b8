#include "unbraid/methods/soft_dgl.h"

#include <gtest/gtest.h>

#include "methods/testing.h"

namespace unbraid {
namespace {

using namespace unbraid::testing;  // NOLINT(google-build-using-namespace)

TEST(SoftDgl, KeepsAFractionOfTheMultimodalGradient) {
  const auto method =
      read({{"type", text("soft-dgl")}, {"alpha", number(2)}, {"keep", number(0.3)}});
  const Batch batch = make_batch(2);
  const auto expected =
      naive_gradients(*make_model("gated", 2), batch.inputs, {0.3, 1.0, 2.0, 0.0});
  for (const auto& [name, gradient] : gradients_by(*method, *make_model("gated", 2), batch, 9)) {
    EXPECT_TRUE(same(gradient, expected.at(name))) << name;
  }
}

TEST(SoftDgl, WithoutAnyItIsDgl) { EXPECT_EQ(SoftDgl(4, 0, 0, 0).route(), GradientRoute::dgl(4)); }

TEST(SoftDgl, GoesToItsFinalFractionInALine) {
  const SoftDgl method(4, 1.0, 0.2, 4);
  const double expected[] = {1.0, 0.8, 0.6, 0.4, 0.2, 0.2};
  for (int64_t epoch = 1; epoch <= 6; ++epoch) {
    EXPECT_NEAR(method.route_in(epoch).multimodal_to_encoder[0], expected[epoch - 1], 1e-12);
  }
  const auto annealed = read({{"type", text("soft-dgl")},
                              {"keep", number(1)},
                              {"final_keep", number(0)},
                              {"anneal", integer(2)}});
  const Batch batch = make_batch(2);
  const auto dgl = naive_gradients(*make_model("sum", 2), batch.inputs, GradientRoute::dgl(4));
  for (const auto& [name, gradient] : gradients_by(*annealed, *make_model("sum", 2), batch, 3)) {
    EXPECT_TRUE(same(gradient, dgl.at(name))) << name;
  }
}

TEST(SoftDgl, RefusesAFinalFractionThatItNeverReaches) {
  EXPECT_THROW(read({{"type", text("soft-dgl")}, {"final_keep", number(0)}}), RecipeError);
  EXPECT_THROW(read({{"type", text("soft-dgl")}, {"keep", number(-0.1)}}), RecipeError);
}

}  // namespace
}  // namespace unbraid
