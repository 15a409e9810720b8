#include "unbraid/methods/arl.h"

#include <cmath>

#include <gtest/gtest.h>

#include "methods/testing.h"

namespace unbraid {
namespace {

using namespace unbraid::testing;  // NOLINT(google-build-using-namespace)

TEST(Arl, WeightsAreThoseOfThePaper) {
  const auto weights = Arl::weights({7, 3}, {0.4, 1.2}, 8);
  EXPECT_NEAR(weights[0], 0.528540, 1e-6);
  EXPECT_NEAR(weights[1], 0.471460, 1e-6);
  // One that nobody has counts for nothing, and one alone has nobody to be weighed against.
  const auto with_absent = Arl::weights({7, std::nan(""), 3}, {0.4, std::nan(""), 1.2}, 8);
  EXPECT_NEAR(with_absent[0], 0.528540, 1e-6);
  EXPECT_EQ(with_absent[1], 0);
  EXPECT_EQ(Arl::weights({7, std::nan("")}, {0.4, std::nan("")}, 8), (std::vector<double>{0, 0}));
}

TEST(Arl, EncodersLearnFasterByTheirWeights) {
  const Batch batch = make_batch(2);
  for (const char* kind : {"asymmetric", "equal"}) {
    SCOPED_TRACE(kind);
    const auto method =
        read({{"type", text("arl")}, {"gamma", number(3)}, {"weights", text(kind)}});
    MultimodalModel model = make_model("concat", 2);
    const auto gradients = gradients_by(*method, *model, batch, 7);
    const double audio = method->choices().at("weight.audio");
    const double image = method->choices().at("weight.image");
    EXPECT_NEAR(audio + image, 1.0, 1e-9);
    EXPECT_EQ(std::abs(audio - 0.5) < 1e-12, std::string(kind) == "equal");
    const std::vector<double> joint{1 + audio, 1 + image};
    const std::vector<double> alone{3 * (1 + audio), 3 * (1 + image)};
    const auto expected =
        naive_gradients(*make_model("concat", 2), batch.inputs, {joint, 1.0, alone, 3.0});
    for (const auto& [name, gradient] : gradients) {
      EXPECT_TRUE(same(gradient, expected.at(name))) << name;
    }
  }
}

TEST(Arl, StartsAsAuxiliaryTraining) {
  const Batch batch = make_batch(2);
  const auto method = read({{"type", text("arl")}, {"gamma", number(3)}});
  const auto expected =
      naive_gradients(*make_model("sum", 2), batch.inputs, GradientRoute::auxiliary(1));
  for (const auto& [name, gradient] : gradients_by(*method, *make_model("sum", 2), batch, 6)) {
    EXPECT_TRUE(same(gradient, expected.at(name))) << name;
  }
}

TEST(Arl, WeighsDisentangledGradients) {
  const Batch batch = make_batch(3);
  const auto method = read({{"type", text("arl")}, {"base", text("dgl")}, {"starts", integer(0)}},
                           {"audio", "image", "text"});
  MultimodalModel model = make_model("concat", 3);
  const auto gradients = gradients_by(*method, *model, batch);
  std::vector<double> weights;
  for (size_t m = 0; m < 3; ++m) {
    weights.push_back(4 * (1 + method->choices().at("weight." + model->name(m))));
  }
  const auto expected =
      naive_gradients(*make_model("concat", 3), batch.inputs, {0.0, 1.0, weights, 0.0});
  for (const auto& [name, gradient] : gradients) {
    EXPECT_TRUE(same(gradient, expected.at(name))) << name;
  }
}

}  // namespace
}  // namespace unbraid
