#include "unbraid/methods/reconboost.h"

#include <gtest/gtest.h>

#include "methods/testing.h"

namespace unbraid {
namespace {

using namespace unbraid::testing;  // NOLINT(google-build-using-namespace)

std::shared_ptr<Method> reconboost(int64_t passes = 1) {
  return read({{"type", text("reconboost")}, {"passes", integer(passes)}});
}

/// Row i of what is packed for modality m is of this sample.
std::vector<int64_t> samples_of(const Batch& batch, size_t m) {
  std::vector<int64_t> samples;
  for (int64_t i = 0; i < kBatch; ++i) {
    if (batch.presence.complete() ||
        batch.presence.mask()[i][static_cast<int64_t>(m)].item<bool>()) {
      samples.push_back(i);
    }
  }
  return samples;
}

/// W_m z_m + b_m for one sample; undefined where it lacks m.
torch::Tensor output_of(MultimodalModelImpl& model, const Batch& batch, size_t m, int64_t sample) {
  const auto samples = samples_of(batch, m);
  const auto at = std::find(samples.begin(), samples.end(), sample);
  return at == samples.end()
             ? torch::Tensor()
             : model.alone(m, model.encode(m, batch.inputs[m]))[at - samples.begin()];
}

/// The loss of the header, sample by sample, for a fusion that adds up.
torch::Tensor loss_by_hand(MultimodalModelImpl& model, const Batch& batch, size_t k, size_t before,
                           bool first_stage) {
  torch::Tensor agreement = torch::zeros({}, torch::kDouble);
  torch::Tensor reconcilement = torch::zeros({}, torch::kDouble);
  torch::Tensor consolidation = torch::zeros({}, torch::kDouble);
  const auto samples = samples_of(batch, k);
  for (const int64_t i : samples) {
    const int64_t label = batch.target[i].item<int64_t>();
    const torch::Tensor own = torch::softmax(output_of(model, batch, k, i), 0);
    agreement = agreement - torch::log(own[label]);
    torch::Tensor rest;
    for (size_t m = 0; m < model.size(); ++m) {
      const torch::Tensor other = output_of(model, batch, m, i);
      if (m != k && other.defined()) {
        rest = rest.defined() ? rest + other : other;
      }
    }
    if (rest.defined()) {
      reconcilement =
          reconcilement + torch::softmax(rest, 0)[label].item<double>() * torch::log(own[label]);
    }
    if (const torch::Tensor other = output_of(model, batch, before, i); other.defined()) {
      consolidation =
          consolidation + (own - torch::softmax(other, 0).detach()).square().sum() / kClasses;
    }
  }
  const auto count = static_cast<double>(samples.size());
  if (first_stage) {
    return 5.0 / kClasses * agreement / count;
  }
  return ((5.0 * agreement + reconcilement) / kClasses + 0.5 * consolidation) / count;
}

void expect_phase_one(const Batch& batch, size_t modalities, int64_t epoch, size_t k, size_t before,
                      bool first_stage) {
  SCOPED_TRACE(epoch);
  const auto method = reconboost();
  MultimodalModel reference = make_model("sum", modalities);
  loss_by_hand(*reference, batch, k, before, first_stage).backward();
  MultimodalModel model = make_model("sum", modalities);
  const auto gradients = gradients_by(*method, *model, batch, epoch);
  const auto expected = gradients_of(*reference);
  const std::string own = reference->name(k);
  for (const auto& [name, gradient] : gradients) {
    const bool trained =
        name.starts_with("encoders." + own + ".") || name.starts_with("fusion.fc_" + own + ".");
    EXPECT_TRUE(same(gradient, trained ? expected.at(name) : torch::Tensor())) << name;
  }
  EXPECT_EQ(method->choices().at("modality"), static_cast<double>(k));
  EXPECT_EQ(method->choices().at("phase"), 1);
}

TEST(ReconBoost, BoostsOneModalityAfterAnother) {
  for (const Batch& batch : {make_batch(2), make_incomplete_batch(2)}) {
    expect_phase_one(batch, 2, 1, 0, 1, true);
    expect_phase_one(batch, 2, 3, 1, 0, false);
    expect_phase_one(batch, 2, 5, 0, 1, false);
  }
  for (const Batch& batch : {make_batch(3), make_incomplete_batch(3)}) {
    expect_phase_one(batch, 3, 3, 1, 0, false);
    expect_phase_one(batch, 3, 5, 2, 1, false);
    expect_phase_one(batch, 3, 7, 0, 2, false);
  }
}

TEST(ReconBoost, TrainsJointlyInTheSecondPhase) {
  const auto method = reconboost();
  const Batch batch = make_incomplete_batch(2);
  const auto expected =
      naive_gradients(*make_model("sum", 2), batch.inputs, GradientRoute::joint(), batch.presence);
  for (const int64_t epoch : {2, 4}) {
    MultimodalModel model = make_model("sum", 2);
    for (const auto& [name, gradient] : gradients_by(*method, *model, batch, epoch)) {
      EXPECT_TRUE(same(gradient, expected.at(name))) << name;
    }
  }
}

TEST(ReconBoost, PhasesTakeAsManyEpochsAsTold) {
  const auto method = reconboost(2);
  std::vector<std::pair<double, double>> found;
  for (int64_t epoch = 1; epoch <= 9; ++epoch) {
    MultimodalModel model = make_model("sum", 2);
    gradients_by(*method, *model, make_batch(2), epoch);
    found.emplace_back(method->choices().at("modality"), method->choices().at("phase"));
  }
  const std::vector<std::pair<double, double>> expected{{0, 1}, {0, 1}, {0, 2}, {0, 2}, {1, 1},
                                                        {1, 1}, {1, 2}, {1, 2}, {0, 1}};
  EXPECT_EQ(found, expected);
}

TEST(ReconBoost, LookingAtTheOthersLeavesTheirStatistics) {
  MultimodalModel model = make_model("sum", 2);
  const auto before = model->encoder(0).buffers()[0].clone();
  gradients_by(*reconboost(), *model, make_batch(2), 3);
  EXPECT_TRUE(torch::equal(model->encoder(0).buffers()[0], before));
  EXPECT_FALSE(torch::equal(model->encoder(1).buffers()[0], before));
}

TEST(ReconBoost, ABatchWithoutTheModalityTrainsNothing) {
  Batch batch = make_batch(2);
  batch.inputs[0] = torch::Tensor();
  torch::Tensor mask = torch::ones({kBatch, 2}, torch::kBool);
  mask.select(1, 0).fill_(false);
  batch.presence = Presence(mask);
  MultimodalModel model = make_model("sum", 2);
  for (const auto& [name, gradient] : gradients_by(*reconboost(), *model, batch, 5)) {
    EXPECT_FALSE(gradient.defined()) << name;
  }
}

TEST(ReconBoost, RefusesBadKeys) {
  EXPECT_THROW(read({{"type", text("reconboost")}, {"passes", integer(0)}}), RecipeError);
  EXPECT_THROW(read({{"type", text("reconboost")}, {"agreement", number(0)}}), RecipeError);
  EXPECT_THROW(read({{"type", text("reconboost")}, {"consolidation", number(-1)}}), RecipeError);
}

}  // namespace
}  // namespace unbraid
