#include "unbraid/routing/encoded_batch.h"

#include <gtest/gtest.h>

#include "routing/routing_fixtures.h"

namespace unbraid {
namespace {

using namespace unbraid::testing;  // NOLINT(google-build-using-namespace)

TEST(EncodedBatch, GivesEncodersTheGradientsOfAnyLoss) {
  const auto inputs = make_inputs(2);
  MultimodalModel reference = make_model("gated", 2);
  cross_entropy(reference->forward(inputs)).backward();
  const auto expected = gradients_of(*reference);
  MultimodalModel model = make_model("gated", 2);
  EncodedBatch encoded(*model, inputs);
  cross_entropy(model->fuse(encoded.features())).backward();
  encoded.backward({1.0, 0.25});
  for (const auto& [name, gradient] : gradients_of(*model)) {
    const double weight = name.starts_with("encoders.image.") ? 0.25 : 1.0;
    EXPECT_TRUE(torch::allclose(gradient, weight * expected.at(name), 1e-10, 1e-12)) << name;
  }
}

TEST(EncodedBatch, LeavesAloneWhatNoGradientReachedOrIsFrozen) {
  MultimodalModel model = make_model("sum", 2);
  for (torch::Tensor& parameter : model->encoder(1).parameters()) {
    parameter.set_requires_grad(false);
  }
  EncodedBatch encoded(*model, {make_inputs(2)[0], make_inputs(2)[1]});
  EXPECT_FALSE(encoded.features()[1].requires_grad());
  cross_entropy(model->alone(1, encoded.features()[1])).backward();
  encoded.backward();
  for (const auto& [name, gradient] : gradients_of(*model)) {
    EXPECT_EQ(gradient.defined(), name.starts_with("fusion.fc_image.")) << name;
  }
}

TEST(EncodedBatch, GradientsOfParametersAddNothingToTheirOwn) {
  const auto inputs = make_inputs(2);
  MultimodalModel model = make_model("sum", 2);
  const EncodedBatch encoded(*model, inputs);
  const torch::Tensor loss = cross_entropy(model->fuse(encoded.features()));
  const torch::Tensor arrived = torch::autograd::grad({loss}, {encoded.features()[0]})[0];
  const auto found = encoded.parameter_gradients(0, arrived);
  const auto again = encoded.parameter_gradients(0, 2 * arrived);
  MultimodalModel reference = make_model("sum", 2);
  cross_entropy(reference->forward(inputs)).backward();
  const auto expected = reference->encoder(0).parameters();
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_TRUE(torch::allclose(found[i], expected[i].grad(), 1e-10, 1e-12));
    EXPECT_TRUE(torch::allclose(again[i], 2 * expected[i].grad(), 1e-10, 1e-12));
    EXPECT_FALSE(model->encoder(0).parameters()[i].grad().defined());
  }
}

}  // namespace
}  // namespace unbraid
