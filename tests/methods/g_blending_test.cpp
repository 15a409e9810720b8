#include "unbraid/methods/g_blending.h"

#include <cmath>

#include <gtest/gtest.h>

#include "methods/testing.h"

namespace unbraid {
namespace {

using namespace unbraid::testing;  // NOLINT(google-build-using-namespace)

TEST(GBlending, WeightsAreThoseOfTheFormula) {
  // |G / O^2| is 2, 20 and 0.6, by hand.
  const auto weights = GBlending::weights({0.5, -0.2, 0.6}, {0.5, -0.1, 1.0});
  EXPECT_NEAR(weights[0], 2 / 22.6, 1e-12);
  EXPECT_NEAR(weights[1], 20 / 22.6, 1e-12);
  EXPECT_NEAR(weights[2], 0.6 / 22.6, 1e-12);
}

TEST(GBlending, WeightsAreGuarded) {
  const double nothing = std::nan("");
  // Of two that did not overfit the gains decide.
  EXPECT_EQ(GBlending::weights({0.3, 0.1}, {0, 0}), (std::vector<double>{0.75, 0.25}));
  EXPECT_EQ(GBlending::weights({0, 0, nothing}, {1, 2, 1}), (std::vector<double>{0.5, 0.5, 0}));
  EXPECT_EQ(GBlending::weights({1, nothing, 1}, {1, 1, nothing}), (std::vector<double>{1, 0, 0}));
  EXPECT_EQ(GBlending::weights({1, -std::numeric_limits<double>::infinity()},
                               {1, std::numeric_limits<double>::infinity()}),
            (std::vector<double>{1, 0}));
}

std::shared_ptr<Method> blending(size_t modalities, int64_t super_epoch = 2) {
  return read({{"type", text("g-blending")}, {"super_epoch", integer(super_epoch)}},
              shape_of(modalities).modalities);
}

Batch other_batch(size_t modalities) {
  Batch batch = make_incomplete_batch(modalities);
  for (torch::Tensor& input : batch.inputs) {
    input = input.flip(0) * 1.5;
  }
  return batch;
}

constexpr double kRate = 0.2;

void descend(MultimodalModelImpl& model) {
  const torch::NoGradGuard no_grad;
  for (torch::Tensor& parameter : model.parameters()) {
    if (parameter.grad().defined()) {
      parameter.sub_(parameter.grad(), kRate);
      parameter.mutable_grad() = torch::Tensor();
    }
  }
}

/// What one trial was asked to do.
struct Asked {
  int64_t epochs = 0;
  Gradients first;  // of its first batch
};

/// Begins an epoch of a run of 5 whose train is one batch and val another; trials are plain
/// gradient descent.
std::vector<Asked> begin(Method& method, MultimodalModelImpl& model, int64_t epoch) {
  const Batch train = make_batch(model.size());
  const Batch val = other_batch(model.size());
  std::vector<Asked> trials;
  const auto for_each_encoded = [&](const FeaturePass& pass, const auto& use) {
    EXPECT_EQ(pass.batches, 0);
    const torch::NoGradGuard no_grad;
    model.eval();
    const Batch& batch = pass.of_val ? val : train;
    ModalityTensors features;
    for (size_t m = 0; m < model.size(); ++m) {
      features.push_back(model.encode(m, batch.inputs[m]));
    }
    use(batch, features);
  };
  const auto try_out = [&](const Trial& trial) {
    std::vector<torch::Tensor> kept;
    for (const auto& tensors : {model.parameters(), model.buffers()}) {
      for (const torch::Tensor& tensor : tensors) {
        kept.push_back(tensor.detach().clone());
      }
    }
    trials.push_back({trial.epochs, {}});
    for (int64_t i = 0; i < trial.epochs; ++i) {
      model.train();
      trial.backward({.model = model, .batch = train, .task = *classification()});
      if (i == 0) {
        trials.back().first = gradients_of(model);
        for (auto& [name, gradient] : trials.back().first) {
          gradient = gradient.defined() ? gradient.clone() : gradient;
        }
      }
      descend(model);
    }
    trial.look();
    const torch::NoGradGuard no_grad;
    size_t next = 0;
    for (const auto& tensors : {model.parameters(), model.buffers()}) {
      for (const torch::Tensor& tensor : tensors) {
        torch::Tensor(tensor).copy_(kept[next++]);
      }
    }
  };
  method.begin_epoch({.model = model,
                      .epoch = epoch,
                      .epochs = 5,
                      .task = classification().get(),
                      .for_each_encoded = for_each_encoded,
                      .try_out = try_out});
  return trials;
}

/// The loss of modality `part` alone or, if that is their number, of all.
double loss_of(MultimodalModelImpl& model, const Batch& batch, size_t part) {
  const torch::NoGradGuard no_grad;
  model.eval();
  if (part == model.size()) {
    return cross_entropy(model.forward(batch.inputs, batch.presence)).item<double>();
  }
  return cross_entropy_of(model.alone(part, model.encode(part, batch.inputs[part])), batch.presence,
                          part)
      .item<double>();
}

/// The definition: a model of its own for each part.
std::vector<double> weights_by_hand(size_t modalities, int64_t epochs) {
  const Batch train = make_batch(modalities);
  const Batch val = other_batch(modalities);
  std::vector<double> weights;
  double sum = 0;
  for (size_t part = 0; part <= modalities; ++part) {
    MultimodalModel model = make_model("concat", modalities);
    const double train_before = loss_of(*model, train, part);
    const double val_before = loss_of(*model, val, part);
    for (int64_t i = 0; i < epochs; ++i) {
      model->train();
      (part == modalities
           ? cross_entropy(model->forward(train.inputs))
           : cross_entropy(model->alone(part, model->encode(part, train.inputs[part]))))
          .backward();
      descend(*model);
    }
    const double growth =
        (loss_of(*model, val, part) - loss_of(*model, train, part)) - (val_before - train_before);
    weights.push_back(std::abs((val_before - loss_of(*model, val, part)) / (growth * growth)));
    sum += weights.back();
  }
  for (double& weight : weights) {
    weight /= sum;
  }
  return weights;
}

TEST(GBlending, LearnsFromTheWeightedLosses) {
  for (const size_t modalities : {2, 3}) {
    const auto method = blending(modalities);
    MultimodalModel model = make_model("concat", modalities);
    const auto trials = begin(*method, *model, 1);
    ASSERT_EQ(trials.size(), modalities + 1);
    const auto weights = weights_by_hand(modalities, 2);
    EXPECT_GT(std::abs(weights[0] - weights[1]), 1e-3);
    const auto chosen = method->choices();
    for (size_t m = 0; m < modalities; ++m) {
      EXPECT_NEAR(chosen.at("weight." + model->name(m)), weights[m], 1e-9);
    }
    EXPECT_NEAR(chosen.at("weight.fused"), weights.back(), 1e-9);
    EXPECT_TRUE(chosen.contains("gain.audio") && chosen.contains("overfitting.fused"));

    const std::vector<double> alone(weights.begin(), weights.end() - 1);
    const Batch batch = make_incomplete_batch(modalities);
    const auto expected =
        naive_gradients(*make_model("concat", modalities), batch.inputs,
                        {weights.back(), weights.back(), alone, alone}, batch.presence);
    model->train();
    for (const auto& [name, gradient] : gradients_by(*method, *model, batch)) {
      EXPECT_TRUE(torch::allclose(gradient, expected.at(name), 1e-7, 1e-10)) << name;
    }
  }
}

TEST(GBlending, EachTrialIsOfOnePart) {
  MultimodalModel model = make_model("sum", 2);
  const auto trials = begin(*blending(2), *model, 1);
  ASSERT_EQ(trials.size(), 3);
  for (const auto& [name, gradient] : trials[0].first) {
    EXPECT_EQ(gradient.defined(), name.find("audio") != std::string::npos) << name;
  }
  for (const auto& [name, gradient] : trials[1].first) {
    EXPECT_EQ(gradient.defined(), name.find("image") != std::string::npos) << name;
  }
  const auto joint =
      naive_gradients(*make_model("sum", 2), make_batch(2).inputs, GradientRoute::joint());
  for (const auto& [name, gradient] : trials[2].first) {
    EXPECT_TRUE(same(gradient, joint.at(name))) << name;
  }
}

TEST(GBlending, ChoosesBeforeEverySuperEpoch) {
  const auto method = blending(2);
  MultimodalModel model = make_model("sum", 2);
  std::vector<int64_t> epochs;
  for (int64_t epoch = 1; epoch <= 5; ++epoch) {
    const auto trials = begin(*method, *model, epoch);
    epochs.push_back(trials.empty() ? 0 : trials[0].epochs);
    EXPECT_EQ(method->choices().contains("gain.fused"), !trials.empty());
    EXPECT_TRUE(method->choices().contains("weight.fused"));
  }
  EXPECT_EQ(epochs, (std::vector<int64_t>{2, 0, 2, 0, 1}));  // no longer than the run
}

TEST(GBlending, RemembersAcrossCheckpoints) {
  const auto method = blending(2);
  EXPECT_TRUE(method->state().empty());
  MultimodalModel model = make_model("sum", 2);
  begin(*method, *model, 1);
  begin(*method, *model, 2);
  const auto loaded = blending(2);
  loaded->load_state(method->state());
  begin(*loaded, *model, 2);
  EXPECT_EQ(loaded->choices(), method->choices());
  EXPECT_EQ(loaded->route(), method->route());
  EXPECT_THROW(loaded->load_state({{"weights", torch::zeros({4})}}), StorageError);
  loaded->load_state({});
  EXPECT_THROW(begin(*loaded, *model, 2), StorageError);
}

TEST(GBlending, AModalityThatNobodyHasWeighsNothing) {
  const auto method = blending(2);
  MultimodalModel model = make_model("sum", 2);
  Batch batch = make_batch(2);
  batch.inputs[1] = torch::Tensor();
  torch::Tensor mask = torch::ones({kBatch, 2}, torch::kBool);
  mask.select(1, 1).fill_(false);
  batch.presence = Presence(mask);
  method->begin_epoch({.model = *model,
                       .task = classification().get(),
                       .for_each_encoded =
                           [&](const FeaturePass& /*pass*/, const auto& use) {
                             const torch::NoGradGuard no_grad;
                             use(batch, {model->encode(0, batch.inputs[0]), torch::Tensor()});
                           },
                       .try_out =
                           [&](const Trial& trial) {
                             trial.backward(
                                 {.model = *model, .batch = batch, .task = *classification()});
                             descend(*model);
                             trial.look();
                           }});
  EXPECT_EQ(method->choices().at("weight.image"), 0);
  EXPECT_GT(method->choices().at("weight.audio"), 0);
}

TEST(GBlending, RefusesBadKeys) {
  EXPECT_THROW(blending(2, 0), RecipeError);
  EXPECT_THROW(blending(1), RecipeError);
}

}  // namespace
}  // namespace unbraid
