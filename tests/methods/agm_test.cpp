#include "unbraid/methods/agm.h"

#include <cmath>

#include <gtest/gtest.h>

#include "methods/testing.h"

namespace unbraid {
namespace {

using namespace unbraid::testing;  // NOLINT(google-build-using-namespace)

TEST(Agm, CoefficientsAreThoseOfTheReferenceCode) {
  const auto kappa = Agm::coefficients({0.5, 1.2}, {0.6, 1.0}, 1.5, 10);
  EXPECT_NEAR(kappa[0], 0.457082, 1e-6);
  EXPECT_NEAR(kappa[1], 1.297711, 1e-6);
  const double unknown = std::nan("");
  EXPECT_EQ(Agm::coefficients({0.5, 1.2}, {unknown, unknown}, 1.5, 10),
            (std::vector<double>{1, 1}));
  EXPECT_NEAR(Agm::coefficients({0, 9}, {9, 0}, 1.0, 2)[1], std::exp(2.0), 1e-9);  // the cap
}

/// F(S) for every coalition but nobody: audio, image, both.
std::vector<torch::Tensor> coalitions(MultimodalModelImpl& model, const Batch& batch) {
  const auto audio = model.encode(0, batch.inputs[0]);
  const auto image = model.encode(1, batch.inputs[1]);
  return {model.fuse({audio, torch::Tensor()}), model.fuse({torch::Tensor(), image}),
          model.fuse({audio, image})};
}

TEST(Agm, ScalesTheGradientAtEachShapleyValue) {
  for (const char* fusion : {"concat", "gated"}) {
    SCOPED_TRACE(fusion);
    const auto method = read({{"type", text("agm")}, {"alpha", number(2)}});
    const Batch first = make_batch(2);
    Batch second = first;
    second.inputs = {-first.inputs[0], first.inputs[1].square()};
    gradients_by(*method, *make_model(fusion, 2), first);
    EXPECT_EQ(method->choices().at("kappa.audio"), 1);
    const auto gradients = gradients_by(*method, *make_model(fusion, 2), second);
    const double kappa_audio = method->choices().at("kappa.audio");
    const double kappa_image = method->choices().at("kappa.image");
    EXPECT_GT(std::abs(kappa_audio - 1), 1e-3);

    const auto values = [&](MultimodalModelImpl& model, const Batch& batch) {
      const auto f = coalitions(model, batch);
      return std::pair{0.5 * (f[2] - f[1] + f[0]), 0.5 * (f[2] - f[0] + f[1])};
    };
    MultimodalModel reference = make_model(fusion, 2);
    const auto [audio, image] = values(*reference, second);
    const auto slowed = [](const torch::Tensor& value, double kappa) {
      return kappa * value + (1 - kappa) * value.detach();
    };
    cross_entropy(slowed(audio, kappa_audio) + slowed(image, kappa_image)).backward();
    const auto expected = gradients_of(*reference);
    for (const auto& [name, gradient] : gradients) {
      EXPECT_TRUE(same(gradient, expected.at(name))) << name;
    }

    const auto scores_of = [&](const Batch& batch) {
      const auto [a, i] = values(*make_model(fusion, 2), batch);
      return std::vector<double>{cross_entropy(a).item<double>(), cross_entropy(i).item<double>()};
    };
    const auto kappa = Agm::coefficients(scores_of(second), scores_of(first), 2, 10);
    EXPECT_NEAR(kappa_audio, kappa[0], 1e-9);
    EXPECT_NEAR(kappa_image, kappa[1], 1e-9);
  }
}

TEST(Agm, WithoutModulationItIsJointTraining) {
  const auto method = read({{"type", text("agm")}}, {"audio", "image", "text"});
  const Batch batch = make_batch(3);
  const auto expected =
      naive_gradients(*make_model("normed", 3), batch.inputs, GradientRoute::joint());
  MultimodalModel model = make_model("normed", 3);
  for (const auto& [name, gradient] : gradients_by(*method, *model, batch)) {
    ASSERT_TRUE(gradient.defined()) << name;
    EXPECT_TRUE(torch::allclose(gradient, expected.at(name), 1e-7, 1e-10)) << name;
  }
  // Statistics are those of one pass over all.
  MultimodalModel once = make_model("normed", 3);
  once->forward(batch.inputs);
  for (const auto& buffer : once->named_buffers()) {
    EXPECT_TRUE(torch::allclose(buffer.value(), model->named_buffers()[buffer.key()]))
        << buffer.key();
  }
}

TEST(Agm, RemembersAcrossCheckpoints) {
  const Batch batch = make_batch(2);
  const auto method = read({{"type", text("agm")}});
  gradients_by(*method, *make_model("sum", 2), batch);
  const auto loaded = read({{"type", text("agm")}});
  loaded->load_state(method->state());
  const Batch other = make_incomplete_batch(2);
  const auto expected = gradients_by(*method, *make_model("sum", 2), other);
  for (const auto& [name, gradient] : gradients_by(*loaded, *make_model("sum", 2), other)) {
    EXPECT_TRUE(same(gradient, expected.at(name))) << name;
  }
  EXPECT_EQ(method->choices(), loaded->choices());
  loaded->load_state({});
  EXPECT_THROW(loaded->load_state({{"scores", torch::zeros({3})}}), StorageError);
}

TEST(Agm, RefusesTooManyAndTooFewModalities) {
  EXPECT_THROW(read({{"type", text("agm")}}, {"audio"}), RecipeError);
  EXPECT_THROW(read({{"type", text("agm")}}, {"a", "b", "c", "d", "e", "f", "g"}), RecipeError);
}

}  // namespace
}  // namespace unbraid
