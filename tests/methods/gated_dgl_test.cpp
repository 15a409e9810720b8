#include "unbraid/methods/gated_dgl.h"

#include <gtest/gtest.h>

#include "methods/testing.h"

namespace unbraid {
namespace {

using namespace unbraid::testing;  // NOLINT(google-build-using-namespace)

/// Of the gradients of both losses at the feature of modality m.
double cosine_at_feature(MultimodalModelImpl& model, const Batch& batch, size_t m) {
  ModalityTensors features;
  for (size_t n = 0; n < model.size(); ++n) {
    features.push_back(model.encode(n, batch.inputs[n]).detach().set_requires_grad(true));
  }
  const auto fused = torch::autograd::grad({cross_entropy(model.fuse(features))}, {features[m]})[0];
  const auto alone =
      torch::autograd::grad({cross_entropy(model.alone(m, features[m]))}, {features[m]})[0];
  return ((fused * alone).sum() / (fused.norm() * alone.norm())).item<double>();
}

TEST(GatedDgl, KeepsTheMultimodalGradientWhereTheyAgree) {
  const Batch batch = make_batch(2);
  const double audio = cosine_at_feature(*make_model("gated", 2), batch, 0);
  const double image = cosine_at_feature(*make_model("gated", 2), batch, 1);
  ASSERT_GT(std::abs(audio - image), 1e-3);
  const double between = (audio + image) / 2;
  const auto method = read({{"type", text("gated-dgl")},
                            {"alpha", number(2)},
                            {"keep", number(0.6)},
                            {"threshold", number(between)}});
  MultimodalModel model = make_model("gated", 2);
  const auto gradients = gradients_by(*method, *model, batch);
  const std::vector<double> kept{audio > between ? 0.6 : 0.0, image > between ? 0.6 : 0.0};
  const auto expected =
      naive_gradients(*make_model("gated", 2), batch.inputs, {kept, 1.0, 2.0, 0.0});
  for (const auto& [name, gradient] : gradients) {
    EXPECT_TRUE(same(gradient, expected.at(name))) << name;
  }
  EXPECT_NEAR(method->choices().at("cosine.audio"), audio, 1e-9);
  EXPECT_NEAR(method->choices().at("cosine.image"), image, 1e-9);
  EXPECT_EQ(method->choices().at("kept.audio"), audio > between ? 1 : 0);
}

TEST(GatedDgl, WithTheHighestThresholdItIsDgl) {
  const auto method = read({{"type", text("gated-dgl")}, {"threshold", number(1)}});
  const Batch batch = make_batch(3);
  const auto expected =
      naive_gradients(*make_model("concat", 3), batch.inputs, GradientRoute::dgl(4));
  for (const auto& [name, gradient] : gradients_by(*method, *make_model("concat", 3), batch)) {
    EXPECT_TRUE(same(gradient, expected.at(name))) << name;
  }
}

TEST(GatedDgl, RefusesWhatHasNoCosine) {
  EXPECT_THROW(read({{"type", text("gated-dgl")}, {"alpha", number(0)}}), RecipeError);
  EXPECT_THROW(read({{"type", text("gated-dgl")}, {"threshold", number(1.1)}}), RecipeError);
}

}  // namespace
}  // namespace unbraid
