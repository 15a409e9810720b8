#include "unbraid/analysis/gradient_probe.h"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "methods/testing.h"
#include "unbraid/models/encoders/mlp.h"
#include "unbraid/tasks/regression.h"

namespace unbraid {
namespace {

using testing::classification;
using testing::kBatch;
using testing::kFeature;
using testing::kInputs;
using testing::make_batch;
using testing::make_incomplete_batch;
using testing::make_model;
using torch::Tensor;

std::vector<ModalityGradients> probed(MultimodalModelImpl& model, const Batch& batch,
                                      const Task& task = *classification()) {
  GradientProbe probe(model, task);
  probe.add(batch);
  return probe.result();
}

/// Where each sample stands among those that have modality m; -1: it has not.
int64_t place_of(const Batch& batch, int64_t sample, size_t m) {
  if (batch.presence.complete()) {
    return sample;
  }
  const Tensor has = batch.presence.mask().select(1, static_cast<int64_t>(m));
  return has[sample].item<bool>() ? has.narrow(0, 0, sample).sum().item<int64_t>() : -1;
}

/// The definition, one sample after another, each on graphs of its own, in evaluation mode.
ModalityGradients by_definition(MultimodalModelImpl& model, const Batch& batch, size_t m,
                                const Task& task) {
  model.eval();
  std::vector<double> ratios;
  std::vector<double> cosines;
  double g_sum = 0;
  double u_sum = 0;
  double below = 0;
  Tensor encoder;
  Tensor encoder_alone;
  const auto parameters = model.encoder(m).parameters();
  const auto flat = [&](const Tensor& loss) {
    std::vector<Tensor> parts;
    const auto found = torch::autograd::grad({loss}, parameters, {}, true, false, true);
    for (size_t i = 0; i < found.size(); ++i) {
      parts.push_back((found[i].defined() ? found[i] : torch::zeros_like(parameters[i])).flatten());
    }
    return torch::cat(parts);
  };
  for (int64_t i = 0; i < batch.target.size(0); ++i) {
    if (place_of(batch, i, m) < 0) {
      continue;
    }
    ModalityTensors features(model.size());
    for (size_t k = 0; k < model.size(); ++k) {
      if (const int64_t place = place_of(batch, i, k); place >= 0) {
        features[k] = model.encode(k, batch.inputs[k].narrow(0, place, 1));
      }
    }
    const Tensor target = batch.target.narrow(0, i, 1);
    const Tensor loss = task.loss(model.fuse(features), target);
    const Tensor loss_alone = task.loss(model.alone(m, features[m]), target);
    const Tensor g = torch::autograd::grad({loss}, {features[m]}, {}, true)[0].flatten();
    const Tensor u = torch::autograd::grad({loss_alone}, {features[m]}, {}, true)[0].flatten();
    const double g_norm = g.norm().item<double>();
    const double u_norm = u.norm().item<double>();
    ratios.push_back(g_norm / u_norm);
    cosines.push_back(g.dot(u).item<double>() / g_norm / u_norm);
    g_sum += g_norm;
    u_sum += u_norm;
    below += g_norm < u_norm ? 1 : 0;
    encoder = encoder.defined() ? encoder + flat(loss) : flat(loss);
    encoder_alone = encoder_alone.defined() ? encoder_alone + flat(loss_alone) : flat(loss_alone);
  }
  const auto count = static_cast<double>(ratios.size());
  std::sort(ratios.begin(), ratios.end());
  const size_t middle = ratios.size() / 2;
  ModalityGradients result;
  result.samples = static_cast<int64_t>(ratios.size());
  result.feature_ratio = g_sum / u_sum;
  result.feature_ratio_median =
      ratios.size() % 2 == 1 ? ratios[middle] : (ratios[middle - 1] + ratios[middle]) / 2;
  for (const double cosine : cosines) {
    result.feature_cosine += cosine / count;
  }
  result.share_below_one = below / count;
  const double norm = encoder.norm().item<double>();
  const double norm_alone = encoder_alone.norm().item<double>();
  result.encoder_ratio = norm / norm_alone;
  result.encoder_cosine = encoder.dot(encoder_alone).item<double>() / norm / norm_alone;
  return result;
}

void expect_as_defined(MultimodalModelImpl& model, const Batch& batch, const Task& task) {
  const auto found = probed(model, batch, task);
  ASSERT_EQ(found.size(), model.size());
  for (size_t m = 0; m < found.size(); ++m) {
    const ModalityGradients expected = by_definition(model, batch, m, task);
    EXPECT_EQ(found[m].samples, expected.samples);
    EXPECT_NEAR(found[m].feature_ratio, expected.feature_ratio, 1e-9);
    EXPECT_NEAR(found[m].feature_ratio_median, expected.feature_ratio_median, 1e-9);
    EXPECT_NEAR(found[m].feature_cosine, expected.feature_cosine, 1e-9);
    EXPECT_NEAR(found[m].share_below_one, expected.share_below_one, 1e-12);
    EXPECT_NEAR(found[m].encoder_ratio, expected.encoder_ratio, 1e-9);
    EXPECT_NEAR(found[m].encoder_cosine, expected.encoder_cosine, 1e-9);
  }
}

TEST(GradientProbe, IsWhatItsDefinitionSays) {
  for (const char* fusion : {"concat", "sum", "gated", "film", "normed"}) {
    SCOPED_TRACE(fusion);
    MultimodalModel model = make_model(fusion, 2);
    expect_as_defined(*model, make_batch(2), *classification());
  }
}

TEST(GradientProbe, SamplesThatLackAModalityAreLeftOutForIt) {
  for (const char* fusion : {"concat", "sum", "gated", "normed"}) {
    SCOPED_TRACE(fusion);
    MultimodalModel model = make_model(fusion, 2);
    expect_as_defined(*model, make_incomplete_batch(2), *classification());
  }
  MultimodalModel three = make_model("concat", 3);
  const Batch batch = make_incomplete_batch(3);
  EXPECT_EQ(probed(*three, batch)[0].samples, kBatch - 1);
  EXPECT_EQ(probed(*three, batch)[1].samples, kBatch);
  expect_as_defined(*three, batch, *classification());
}

TEST(GradientProbe, AModalityThatNoneHasIsNotMeasured) {
  MultimodalModel model = make_model("concat", 2);
  Batch batch = make_batch(2);
  Tensor mask = torch::ones({kBatch, 2}, torch::kBool);
  mask.select(1, 1).fill_(false);
  batch.presence = Presence(mask);
  batch.inputs[1] = Tensor();
  const auto found = probed(*model, batch);
  EXPECT_NEAR(found[0].feature_ratio, 1, 1e-12);
  EXPECT_EQ(found[1].samples, 0);
  for (const double value :
       {found[1].feature_ratio, found[1].feature_ratio_median, found[1].feature_cosine,
        found[1].share_below_one, found[1].encoder_ratio, found[1].encoder_cosine}) {
    EXPECT_TRUE(std::isnan(value)) << value;
  }
}

TEST(GradientProbe, BatchesAddUp) {
  MultimodalModel model = make_model("sum", 2);
  const Batch whole = make_batch(2);
  GradientProbe probe(*model, *classification());
  for (const auto& [start, count] : {std::pair<int64_t, int64_t>{0, 2}, {2, kBatch - 2}}) {
    Batch part = whole;
    part.target = whole.target.narrow(0, start, count);
    part.ids.resize(static_cast<size_t>(count));
    for (Tensor& input : part.inputs) {
      input = input.narrow(0, start, count);
    }
    probe.add(part);
  }
  const auto parts = probe.result();
  const auto together = probed(*model, whole);
  for (size_t m = 0; m < 2; ++m) {
    EXPECT_EQ(parts[m].samples, kBatch);
    EXPECT_NEAR(parts[m].feature_ratio, together[m].feature_ratio, 1e-12);
    EXPECT_NEAR(parts[m].feature_ratio_median, together[m].feature_ratio_median, 1e-12);
    EXPECT_NEAR(parts[m].encoder_ratio, together[m].encoder_ratio, 1e-12);
    EXPECT_NEAR(parts[m].encoder_cosine, together[m].encoder_cosine, 1e-12);
    EXPECT_NEAR(parts[m].closed_form->ratio, together[m].closed_form->ratio, 1e-12);
  }
}

TEST(GradientProbe, OtherTasksAreMeasuredToo) {
  const Regression task({.targets = testing::kClasses});
  MultimodalModel model = make_model("concat", 2);
  Batch batch = make_batch(2);
  batch.target = torch::randn({kBatch, testing::kClasses}, torch::kDouble);
  expect_as_defined(*model, batch, task);
  EXPECT_FALSE(probed(*model, batch, task)[0].closed_form);
}

TEST(GradientProbe, TheClosedFormIsTheMeasurement) {
  for (const char* fusion : {"concat", "sum"}) {
    for (const bool plain : {true, false}) {
      SCOPED_TRACE(fusion);
      const Classification task(plain ? ClassificationOptions{.classes = testing::kClasses}
                                      : ClassificationOptions{.classes = testing::kClasses,
                                                              .label_smoothing = 0.1,
                                                              .class_weights = {1.0, 2.0, 0.5}});
      MultimodalModel model = make_model(fusion, 3);
      for (const Batch& batch : {make_batch(3), make_incomplete_batch(3)}) {
        for (const ModalityGradients& found : probed(*model, batch, task)) {
          ASSERT_TRUE(found.closed_form);
          EXPECT_NEAR(found.closed_form->ratio, found.feature_ratio, 1e-12);
          EXPECT_LT(found.closed_form->error, 1e-12);
          EXPECT_GE(found.closed_form->share_surer, 0);
          EXPECT_LE(found.closed_form->share_surer, 1);
        }
      }
    }
  }
  for (const char* fusion : {"gated", "film", "normed", "cosine"}) {
    MultimodalModel model = make_model(fusion, 2);
    EXPECT_FALSE(probed(*model, make_batch(2))[0].closed_form) << fusion;
  }
}

TEST(GradientProbe, WithTwoClassesTheSurerAreTheSuppressed) {
  torch::manual_seed(3);
  MultimodalModel model;
  for (const char* name : {"a", "b"}) {
    model->add_encoder(name, std::make_shared<Mlp>(std::vector<int64_t>{kInputs, kFeature}));
  }
  model->set_fusion(
      std::make_shared<ConcatFusion>(FusionShape{{"a", "b"}, {kFeature, kFeature}, 2}));
  model->to(torch::kDouble);
  Batch batch;
  batch.inputs = {torch::randn({64, kInputs}, torch::kDouble),
                  torch::randn({64, kInputs}, torch::kDouble)};
  batch.target = torch::arange(64) % 2;
  batch.ids.resize(64);
  for (const ModalityGradients& found :
       probed(*model, batch, Classification(ClassificationOptions{.classes = 2}))) {
    EXPECT_DOUBLE_EQ(found.share_below_one, found.closed_form->share_surer);
    EXPECT_GT(found.share_below_one, 0.1);
    EXPECT_LT(found.share_below_one, 0.9);
    EXPECT_NEAR(found.feature_cosine, 1, 1e-12);
    EXPECT_NEAR(found.closed_form->residual_ratio, found.feature_ratio, 1e-12);
  }
}

TEST(GradientProbe, WhatAFusionCutsIsZero) {
  MultimodalModel model = make_model("gated-released", 2);
  for (const ModalityGradients& found : probed(*model, make_batch(2))) {
    EXPECT_EQ(found.feature_ratio, 0);
    EXPECT_EQ(found.share_below_one, 1);
    EXPECT_TRUE(std::isnan(found.feature_cosine));
    EXPECT_EQ(found.encoder_ratio, 0);
  }
}

TEST(GradientProbe, AFrozenEncoderHasNoGradientToCompare) {
  MultimodalModel model = make_model("concat", 2);
  const double before = probed(*model, make_batch(2))[0].feature_ratio;
  for (Tensor& parameter : model->parameters()) {
    parameter.set_requires_grad(false);
  }
  const auto found = probed(*model, make_batch(2));
  EXPECT_TRUE(std::isnan(found[0].encoder_ratio));
  EXPECT_DOUBLE_EQ(found[0].feature_ratio, before);
}

/// Draws numbers and counts its passes whatever its mode, as a module of a user's may.
class RestlessImpl : public torch::nn::Module {
 public:
  RestlessImpl()
      : fc_(register_module("fc", torch::nn::Linear(kInputs, kFeature))),
        norm_(register_module("norm", torch::nn::BatchNorm1d(kFeature))),
        passes_(register_buffer("passes", torch::zeros({1}))) {}
  Tensor forward(const Tensor& x) {
    passes_ += 1;
    norm_->train();
    return torch::dropout(norm_(fc_(x)), 0.5, true);
  }

 private:
  torch::nn::Linear fc_;
  torch::nn::BatchNorm1d norm_;
  Tensor passes_;
};
TORCH_MODULE(Restless);

TEST(GradientProbe, ChangesNothing) {
  torch::manual_seed(1);
  MultimodalModel model;
  model->add_encoder("audio", Restless());
  model->add_encoder("image", testing::NormedEncoder());
  testing::set_fusion(model, "normed");
  model->to(torch::kDouble);
  model->train();
  model->encoder(1).eval();  // a part with a mode of its own
  auto parameters = model->named_parameters();
  parameters["encoders.audio.fc.weight"].mutable_grad() =
      torch::full_like(parameters["encoders.audio.fc.weight"], 3.0);
  const auto state = [&] {
    std::vector<Tensor> all = model->buffers();
    for (const Tensor& parameter : model->parameters()) {
      all.push_back(parameter.detach());
    }
    for (Tensor& tensor : all) {
      tensor = tensor.clone();
    }
    return all;
  };
  const auto modes = [&] {
    std::vector<bool> all;
    for (const auto& part : model->modules()) {
      all.push_back(part->is_training());
    }
    return all;
  };
  const auto before = state();
  const auto modes_before = modes();
  const Batch batch = make_batch(2);
  torch::manual_seed(17);
  const Tensor drawn = torch::rand({4});
  torch::manual_seed(17);

  probed(*model, batch);
  reached_parameters(*model, *classification(), batch, GradientRoute::joint());

  EXPECT_TRUE(torch::equal(torch::rand({4}), drawn));
  EXPECT_EQ(modes(), modes_before);
  const auto after = state();
  for (size_t i = 0; i < before.size(); ++i) {
    EXPECT_TRUE(torch::equal(after[i], before[i])) << i;
  }
  for (const auto& parameter : model->named_parameters()) {
    const Tensor& gradient = parameter.value().grad();
    if (parameter.key() == "encoders.audio.fc.weight") {
      EXPECT_TRUE(gradient.defined() && gradient.eq(3.0).all().item<bool>());
    } else {
      EXPECT_FALSE(gradient.defined()) << parameter.key();
    }
  }
}

TEST(ReachedParameters, AreThoseThatTheRouteTrains) {
  MultimodalModel model = make_model("gated-released", 2);
  const Batch batch = make_batch(2);
  const auto missing = [&](const GradientRoute& route) {
    const auto reached = reached_parameters(*model, *classification(), batch, route);
    std::vector<std::string> names;
    for (const std::string& name : model->named_parameters().keys()) {
      if (!reached.contains(name)) {
        names.push_back(name);
      }
    }
    return names;
  };
  EXPECT_EQ(missing(GradientRoute::dgl(4)),
            (std::vector<std::string>{"fusion.fc_audio.weight", "fusion.fc_audio.bias",
                                      "fusion.fc_image.weight", "fusion.fc_image.bias"}));
  EXPECT_TRUE(missing(GradientRoute::auxiliary(1)).empty());
  const GradientRoute only_audio{std::vector<double>{1, 0}, 0, 0.0, 0.0};
  model = make_model("concat", 2);
  model->named_parameters()["encoders.audio.fc.bias"].set_requires_grad(false);
  EXPECT_EQ(missing(only_audio),
            (std::vector<std::string>{"encoders.audio.fc.bias", "encoders.image.fc.weight",
                                      "encoders.image.fc.bias", "encoders.image.bn.weight",
                                      "encoders.image.bn.bias", "fusion.fc_out.weight",
                                      "fusion.fc_out.bias"}));
}

}  // namespace
}  // namespace unbraid
