#include "unbraid/methods/mla.h"

#include <stdexcept>

#include <gtest/gtest.h>

#include "methods/testing.h"
#include "unbraid/models/fusions/shared_head.h"
#include "unbraid/tasks/regression.h"

namespace unbraid {
namespace {

using namespace unbraid::testing;  // NOLINT(google-build-using-namespace)

constexpr double kRate = 0.3;

/// Plain gradient descent with the gradients there are, which are undefined afterwards.
void descend(torch::nn::Module& model) {
  const torch::NoGradGuard no_grad;
  for (torch::Tensor& parameter : model.parameters()) {
    if (parameter.grad().defined()) {
      parameter.sub_(kRate * parameter.grad());
      parameter.mutable_grad() = torch::Tensor();
    }
  }
}

/// A step of `method` on each of `batches`; the number of updates that the method asked for.
int train(Method& method, MultimodalModelImpl& model, const std::vector<Batch>& batches) {
  int updates = 0;
  for (size_t i = 0; i < batches.size(); ++i) {
    const RoutedResult result = method.backward({.model = model,
                                                 .batch = batches[i],
                                                 .task = *classification(),
                                                 .index = static_cast<int64_t>(i),
                                                 .count = static_cast<int64_t>(batches.size()),
                                                 .update = [&] {
                                                   ++updates;
                                                   descend(model);
                                                 }});
    EXPECT_FALSE(result.loss.defined());
    EXPECT_TRUE(result.loss_alone[0].defined());
    descend(model);
  }
  return updates;
}

/// The definition, each loss backpropagated on a graph of its own.
void train_by_hand(MultimodalModelImpl& model, const std::vector<Batch>& batches, bool orthogonal) {
  torch::Tensor p;
  for (size_t i = 0; i < batches.size(); ++i) {
    for (size_t m = 0; m < model.size(); ++m) {
      const torch::Tensor feature = model.encode(m, batches[i].inputs[m]);
      const torch::Tensor logits = model.alone(m, feature);
      cross_entropy_of(logits, batches[i].presence, m).backward();
      torch::Tensor gradient = model.named_parameters()["fusion.head.weight"].mutable_grad();
      if (orthogonal && !p.defined()) {
        p = torch::eye(kFeature, torch::kDouble);
      } else if (orthogonal) {
        const torch::Tensor r = feature.detach().mean(0, true);
        const torch::Tensor k = p.mm(r.t());
        const double alpha =
            std::pow(0.1, 1 + static_cast<double>(i) / static_cast<double>(batches.size()));
        p = p - k.mm(k.t()) / (alpha + r.mm(k).item<double>());
        p = p / p.square().sum().sqrt();
        gradient.copy_(gradient.clone().mm(p.t()));
      }
      descend(model);
    }
  }
}

std::vector<Batch> batches_of(size_t modalities) {
  return {make_batch(modalities), make_incomplete_batch(modalities), make_batch(modalities)};
}

TEST(Mla, TakesAStepForEachModality) {
  for (const size_t modalities : {size_t{2}, size_t{3}}) {
    for (const bool orthogonal : {true, false}) {
      const auto method = read({{"type", text("mla")}, {"orthogonal", {orthogonal, "r.toml:3"}}});
      EXPECT_FALSE(method->accumulates());
      MultimodalModel model = make_model("shared-head", modalities);
      EXPECT_EQ(train(*method, *model, batches_of(modalities)),
                3 * (static_cast<int>(modalities) - 1));
      MultimodalModel expected = make_model("shared-head", modalities);
      train_by_hand(*expected, batches_of(modalities), orthogonal);
      const auto weights = expected->named_parameters();
      for (const auto& parameter : model->named_parameters()) {
        EXPECT_TRUE(same(parameter.value(), weights[parameter.key()])) << parameter.key();
      }
    }
  }
}

TEST(Mla, EachStepReachesOneEncoderAndTheHead) {
  const auto method = read({{"type", text("mla")}});
  MultimodalModel model = make_model("shared-head", 2);
  const Batch batch = make_batch(2);
  method->backward({.model = *model, .batch = batch, .task = *classification(), .update = [&] {
                      for (const auto& [name, gradient] : gradients_of(*model)) {
                        EXPECT_EQ(gradient.defined(), !name.starts_with("encoders.image")) << name;
                      }
                      descend(*model);
                    }});
  for (const auto& [name, gradient] : gradients_of(*model)) {
    EXPECT_EQ(gradient.defined(), !name.starts_with("encoders.audio")) << name;
  }
}

TEST(Mla, SkipsAModalityThatNoSampleHas) {
  const auto method = read({{"type", text("mla")}});
  MultimodalModel model = make_model("shared-head", 2);
  Batch batch = make_batch(2);
  batch.inputs[1] = torch::Tensor();
  torch::Tensor mask = torch::ones({kBatch, 2}, torch::kBool);
  mask.select(1, 1).fill_(false);
  batch.presence = Presence(mask);
  EXPECT_EQ(train(*method, *model, {batch}), 0);
}

TEST(Mla, RemembersItsProjection) {
  const auto method = read({{"type", text("mla")}});
  EXPECT_TRUE(method->state().empty());
  MultimodalModel model = make_model("shared-head", 2);
  train(*method, *model, {make_batch(2)});
  const auto continued = read({{"type", text("mla")}});
  continued->load_state(method->state());
  MultimodalModel other = make_model("shared-head", 2);
  {
    const torch::NoGradGuard no_grad;
    for (size_t i = 0; i < model->parameters().size(); ++i) {
      other->parameters()[i].copy_(model->parameters()[i]);
    }
  }
  train(*method, *model, {make_batch(2)});
  train(*continued, *other, {make_batch(2)});
  for (size_t i = 0; i < model->parameters().size(); ++i) {
    EXPECT_TRUE(torch::equal(model->parameters()[i], other->parameters()[i])) << i;
  }
  continued->load_state({});
  EXPECT_TRUE(continued->state().empty());
}

TEST(Mla, PutsASharedHeadInThePlaceOfOtherFusions) {
  const auto method = read({{"type", text("mla")}});
  EXPECT_NE(std::dynamic_pointer_cast<SharedHeadFusion>(method->fusion("concat", {})(shape_of(2))),
            nullptr);
  const FusionBuilder given = [](const FusionShape& shape) {
    return std::make_shared<SumFusion>(shape);
  };
  EXPECT_EQ(std::dynamic_pointer_cast<SharedHeadFusion>(
                method->fusion("shared-head", given)(shape_of(2))),
            nullptr);  // the recipe's own stays
  EXPECT_THROW((void)method->fusion("film", {}), std::invalid_argument);
}

/// Sharper outputs weigh more where there are classes.
TEST(Mla, WeighsByEntropyWhereThereAreClasses) {
  const auto numbers = std::make_shared<Regression>(RegressionOptions{});
  for (const bool classes : {true, false}) {
    const auto method =
        read({{"type", text("mla")}}, {"audio", "image"}, classes ? *classification() : *numbers);
    const auto fusion = method->fusion("sum", {})(shape_of(2));
    const ModalityTensors features{torch::ones({1, kFeature}) * 9, torch::ones({1, kFeature})};
    const torch::Tensor mean = (fusion->forward({features[0], torch::Tensor()}) +
                                fusion->forward({torch::Tensor(), features[1]})) /
                               2;
    EXPECT_EQ(torch::allclose(fusion->forward(features), mean), !classes);
  }
}

TEST(Mla, AFrozenHeadStaysAsItIs) {
  const auto method = read({{"type", text("mla")}});
  MultimodalModel model = make_model("shared-head", 2);
  for (torch::Tensor& parameter : model->fusion().parameters()) {
    parameter.set_requires_grad(false);
  }
  const torch::Tensor before = model->fusion().parameters()[0].clone();
  train(*method, *model, {make_batch(2), make_batch(2)});
  EXPECT_TRUE(torch::equal(model->fusion().parameters()[0], before));
}

}  // namespace
}  // namespace unbraid
