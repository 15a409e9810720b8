#include "unbraid/methods/pmr.h"

#include <cmath>

#include <gtest/gtest.h>

#include "methods/testing.h"
#include "unbraid/core/autocast.h"

namespace unbraid {
namespace {

using namespace unbraid::testing;  // NOLINT(google-build-using-namespace)

TEST(Pmr, TheWeakerModalityGetsTheLoss) {
  EXPECT_EQ(Pmr::coefficients({0.2, 0.4}, false), (std::vector<double>{1, 0}));
  EXPECT_NEAR(Pmr::coefficients({0.4, 0.5}, false)[0], 0.25, 1e-12);
  EXPECT_EQ(Pmr::coefficients({0.1, 0.5}, false)[0], 1);  // clipped
  EXPECT_EQ(Pmr::coefficients({0.4, 0.5}, true), (std::vector<double>{1, 0}));
  EXPECT_EQ(Pmr::coefficients({0.5, 0.5}, true), (std::vector<double>{0, 0}));
  EXPECT_EQ(Pmr::coefficients({0.5, std::nan("")}, true), (std::vector<double>{0, 0}));
}

TEST(Pmr, TheStrongerModalityIsHeldBack) {
  EXPECT_EQ(Pmr::dominances({0.2, 0.4}, false), (std::vector<double>{0, 1}));
  EXPECT_NEAR(Pmr::dominances({0.4, 0.5}, false)[1], 0.25, 1e-12);
  EXPECT_NEAR(Pmr::dominances({0.6, 0.5, 0.4}, false)[0], (0.6 / 0.5 + 0.6 / 0.4) / 2 - 1, 1e-12);
  EXPECT_EQ(Pmr::dominances({0.4, 0.5}, true), (std::vector<double>{0, 1}));
  EXPECT_EQ(Pmr::dominances({std::nan(""), 0.5}, true), (std::vector<double>{0, 0}));
}

/// An epoch's start whose training batches are `batches`.
void begin(Method& method, MultimodalModelImpl& model, const std::vector<Batch>& batches,
           FeaturePass* asked = nullptr) {
  method.begin_epoch({.model = model,
                      .epoch = 1,
                      .count = 20,
                      .for_each_encoded = [&](const FeaturePass& pass, const auto& use) {
                        if (asked != nullptr) {
                          *asked = pass;
                        }
                        const torch::NoGradGuard no_grad;
                        for (const Batch& batch : batches) {
                          ModalityTensors features;
                          for (size_t m = 0; m < model.size(); ++m) {
                            features.push_back(model.encode(m, batch.inputs[m]));
                          }
                          use(batch, features);
                        }
                      }});
}

/// The mean feature of each class, by hand; in double.
torch::Tensor prototypes(const torch::Tensor& features, const torch::Tensor& target) {
  torch::Tensor means = torch::zeros({kClasses, features.size(1)}, torch::kDouble);
  for (int64_t c = 0; c < kClasses; ++c) {
    int count = 0;
    for (int64_t i = 0; i < target.size(0); ++i) {
      if (target[i].item<int64_t>() == c) {
        means[c] += features[i];
        ++count;
      }
    }
    means[c] /= count;
  }
  return means;
}

TEST(Pmr, LearnsFromTheFormula) {
  const Batch batch = make_batch(2);
  for (const char* base : {"joint", "dgl"}) {
    SCOPED_TRACE(base);
    const auto method = read({{"type", text("pmr")}, {"alpha", number(1.5)}, {"base", text(base)}},
                             {"audio", "image"});
    FeaturePass asked;
    begin(*method, *make_model("concat", 2), {batch}, &asked);
    EXPECT_FALSE(asked.of_val);
    EXPECT_EQ(asked.batches, 2);  // a tenth of 20
    const auto gradients = gradients_by(*method, *make_model("concat", 2), batch);

    MultimodalModel model = make_model("concat", 2);
    std::vector<torch::Tensor> losses;
    std::vector<double> scores;
    for (size_t m = 0; m < 2; ++m) {
      const torch::Tensor feature = model->encode(m, batch.inputs[m]);
      const torch::Tensor means = prototypes(feature.detach(), batch.target);
      const torch::Tensor similarity =
          -(feature.unsqueeze(1) - means.unsqueeze(0)).square().sum(2).add(1e-30).sqrt();
      scores.push_back(
          torch::softmax(similarity, 1).gather(1, batch.target.unsqueeze(1)).mean().item<double>());
      losses.push_back(cross_entropy(similarity));
    }
    const double beta_audio = std::clamp(scores[1] / scores[0] - 1, 0.0, 1.0);
    const double beta_image = std::clamp(scores[0] / scores[1] - 1, 0.0, 1.0);
    EXPECT_GT(beta_audio + beta_image, 1e-3);
    (1.5 * (beta_audio * losses[0] + beta_image * losses[1])).backward();
    const auto extra = gradients_of(*model);
    const auto plain = naive_gradients(*make_model("concat", 2), batch.inputs, method->route());
    for (const auto& [name, gradient] : gradients) {
      const torch::Tensor expected =
          extra.at(name).defined() ? plain.at(name) + extra.at(name) : plain.at(name);
      EXPECT_TRUE(torch::allclose(gradient, expected, 1e-4, 1e-6)) << name;
    }
    EXPECT_NEAR(method->choices().at("beta.audio"), beta_audio, 1e-4);
    EXPECT_NEAR(method->choices().at("score.image"), scores[1], 1e-4);
  }
}

TEST(Pmr, TheEntropyOfTheStrongerModalityIsALossOfItsEncoder) {
  const Batch batch = make_batch(2);
  const auto trained_by = [&](double mu, int64_t epochs) {
    const auto method = read({{"type", text("pmr")},
                              {"alpha", number(0)},
                              {"entropy", number(mu)},
                              {"entropy_epochs", integer(epochs)}},
                             {"audio", "image"});
    begin(*method, *make_model("concat", 2), {batch});
    return gradients_by(*method, *make_model("concat", 2), batch);
  };
  MultimodalModel model = make_model("concat", 2);
  std::vector<torch::Tensor> entropies;
  std::vector<double> scores;
  for (size_t m = 0; m < 2; ++m) {
    const torch::Tensor feature = model->encode(m, batch.inputs[m]);
    const torch::Tensor means = prototypes(feature.detach(), batch.target);
    const torch::Tensor shares = torch::softmax(
        -(feature.unsqueeze(1) - means.unsqueeze(0)).square().sum(2).add(1e-30).sqrt(), 1);
    scores.push_back(shares.gather(1, batch.target.unsqueeze(1)).mean().item<double>());
    entropies.push_back(-(shares * shares.log()).sum(1).mean());
  }
  const size_t stronger = scores[0] > scores[1] ? 0 : 1;
  const double gamma = std::min(scores[stronger] / scores[1 - stronger] - 1, 1.0);
  EXPECT_GT(gamma, 1e-3);
  (-0.7 * gamma * entropies[stronger]).backward();
  const auto extra = gradients_of(*model);
  const auto plain =
      naive_gradients(*make_model("concat", 2), batch.inputs, GradientRoute::joint());
  for (const auto& [name, gradient] : trained_by(0.7, 10)) {
    const torch::Tensor expected =
        extra.at(name).defined() ? plain.at(name) + extra.at(name) : plain.at(name);
    EXPECT_TRUE(torch::allclose(gradient, expected, 1e-4, 1e-6)) << name;
    EXPECT_EQ(extra.at(name).defined(), name.find(stronger == 0 ? "audio" : "image") != name.npos)
        << name;
  }
  for (const auto& [name, gradient] : trained_by(0.7, 0)) {  // none in the first 0 epochs
    EXPECT_TRUE(torch::allclose(gradient, plain.at(name), 1e-4, 1e-6)) << name;
  }
}

TEST(Pmr, KeepsWhatItKnowsOfClassesThatItDoesNotSee) {
  Batch some = make_batch(2);
  for (torch::Tensor& input : some.inputs) {
    input = input.slice(0, 0, 3);  // classes 0, 2, 1
  }
  some.target = torch::tensor({0, 2, 2});
  some.ids.resize(3);
  const auto method = read({{"type", text("pmr")}}, {"audio", "image"});
  begin(*method, *make_model("sum", 2), {some});
  for (const auto& [name, values] : method->state()) {
    if (name == "known.audio") {
      EXPECT_TRUE(torch::equal(values.cpu(), torch::tensor({true, false, true})));
    }
    if (values.is_floating_point()) {
      EXPECT_TRUE(torch::isfinite(values).all().item<bool>()) << name;
    }
  }
  // Samples of the class without a prototype are left out, and nothing is NaN.
  for (const Batch& batch : {make_batch(2), make_incomplete_batch(2)}) {
    for (const auto& [name, gradient] : gradients_by(*method, *make_model("sum", 2), batch)) {
      EXPECT_TRUE(torch::isfinite(gradient).all().item<bool>()) << name;
    }
  }
}

TEST(Pmr, PrototypesAreMeansInFloatUnderAutomaticCasting) {
  const auto method = read({{"type", text("pmr")}}, {"audio", "image"});
  const MultimodalModel model = make_model("sum", 2);
  const Batch batch = make_batch(2);
  torch::manual_seed(1);
  const torch::Tensor features = torch::rand({kBatch, kFeature}) + 1;
  constexpr int64_t kBatches = 600;
  const AutocastGuard casting(torch::kCPU, true);
  method->begin_epoch({.model = *model.ptr(),
                       .count = 10 * kBatches,
                       .for_each_encoded = [&](const FeaturePass& pass, const auto& use) {
                         for (size_t i = 0; i < pass.batches; ++i) {
                           use(batch, {features, features});
                         }
                       }});
  const torch::Tensor expected = prototypes(features, batch.target);
  for (const auto& [name, values] : method->state()) {
    if (name.starts_with("prototypes.")) {
      EXPECT_TRUE(torch::allclose(values.to(torch::kDouble), expected, 1e-4)) << name;
    }
  }
}

TEST(Pmr, RemembersAcrossCheckpoints) {
  const Batch batch = make_batch(2);
  const auto method = read({{"type", text("pmr")}}, {"audio", "image"});
  begin(*method, *make_model("sum", 2), {batch});
  const auto loaded = read({{"type", text("pmr")}}, {"audio", "image"});
  loaded->load_state(method->state());
  const auto expected = gradients_by(*method, *make_model("sum", 2), batch);
  for (const auto& [name, gradient] : gradients_by(*loaded, *make_model("sum", 2), batch)) {
    EXPECT_TRUE(same(gradient, expected.at(name))) << name;
  }
  // Without prototypes it is joint training.
  loaded->load_state({});
  const auto joint = naive_gradients(*make_model("sum", 2), batch.inputs, GradientRoute::joint());
  for (const auto& [name, gradient] : gradients_by(*loaded, *make_model("sum", 2), batch)) {
    EXPECT_TRUE(same(gradient, joint.at(name))) << name;
  }
  EXPECT_THROW(loaded->load_state({{"prototypes.audio", torch::zeros({7, 4})}}), StorageError);
}

}  // namespace
}  // namespace unbraid
