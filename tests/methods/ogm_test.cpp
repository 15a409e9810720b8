#include "unbraid/methods/ogm.h"

#include <gtest/gtest.h>

#include "methods/testing.h"
#include "unbraid/methods/modality_scores.h"

namespace unbraid {
namespace {

using namespace unbraid::testing;  // NOLINT(google-build-using-namespace)

TEST(Ogm, CoefficientsAreThoseOfTheReferenceCode) {
  const auto of_ratio = [](double ratio, double alpha) {
    return Ogm::coefficients({0.4 * ratio, 0.4}, alpha);
  };
  EXPECT_NEAR(of_ratio(1.5, 0.1)[0], 0.851115, 1e-6);
  EXPECT_EQ(of_ratio(1.5, 0.1)[1], 1.0);
  EXPECT_NEAR(of_ratio(1.25, 0.8)[0], 0.238406, 1e-6);
  EXPECT_NEAR(of_ratio(1 + 1e-9, 0.1)[0], 0.900332, 1e-6);
  EXPECT_EQ(of_ratio(1.0, 0.1), (std::vector<double>{1.0, 1.0}));
  EXPECT_NEAR(of_ratio(1 / 1.5, 0.1)[1], 0.851115, 1e-6);
}

TEST(Ogm, OfThreeModalitiesTakesTheMeanOfTheRatios) {
  const auto k = Ogm::coefficients({0.6, 0.3, 0.2}, 0.1);
  EXPECT_NEAR(k[0], 1 - std::tanh(0.1 * (2.0 + 3.0) / 2), 1e-12);
  EXPECT_EQ(k[1], 1.0);  // (0.5 + 1.5) / 2 is not above 1
  EXPECT_EQ(k[2], 1.0);
  EXPECT_EQ(Ogm::coefficients({0.6, std::nan("")}, 0.1), (std::vector<double>{1.0, 1.0}));
}

/// The definition, with W and b of the concatenation by hand.
std::vector<double> scores_by_hand(MultimodalModelImpl& model, const Batch& batch) {
  const auto parameters = model.fusion().named_parameters();
  const torch::Tensor& weight = parameters["fc_out.weight"];
  const torch::Tensor& bias = parameters["fc_out.bias"];
  const auto modalities = static_cast<int64_t>(model.size());
  std::vector<double> scores;
  for (int64_t m = 0; m < modalities; ++m) {
    const auto at = static_cast<size_t>(m);
    const torch::Tensor logits =
        model.encode(at, batch.inputs[at])
            .matmul(weight.slice(1, m * kFeature, (m + 1) * kFeature).t()) +
        bias / modalities;
    const torch::Tensor probabilities = torch::softmax(logits, 1);
    double sum = 0;
    for (int64_t i = 0; i < kBatch; ++i) {
      sum += probabilities[i][batch.target[i].item<int64_t>()].item<double>();
    }
    scores.push_back(sum / kBatch);
  }
  return scores;
}

TEST(Ogm, ScalesTheGradientsOfTheStrongerEncoder) {
  for (const size_t modalities : {size_t{2}, size_t{3}}) {
    for (const char* base : {"joint", "dgl"}) {
      SCOPED_TRACE(base);
      const std::vector<std::string> names{"audio", "image", "text"};
      const auto method =
          read({{"type", text("ogm")}, {"alpha", number(0.7)}, {"base", text(base)}},
               {names.begin(), names.begin() + static_cast<int>(modalities)});
      MultimodalModel model = make_model("concat", modalities);
      const Batch batch = make_batch(modalities);
      const auto k =
          Ogm::coefficients(scores_by_hand(*make_model("concat", modalities), batch), 0.7);
      EXPECT_LT(*std::min_element(k.begin(), k.end()), 1.0);
      auto plain =
          naive_gradients(*make_model("concat", modalities), batch.inputs, method->route());
      for (const auto& [name, gradient] : gradients_by(*method, *model, batch)) {
        torch::Tensor expected = plain.at(name);
        for (size_t m = 0; m < modalities; ++m) {
          if (name.starts_with("encoders." + model->name(m) + ".")) {
            expected = expected * k[m];
          }
        }
        // The scores are computed in float.
        EXPECT_TRUE(torch::allclose(gradient, expected, 1e-5, 1e-9)) << name;
      }
      EXPECT_NEAR(method->choices().at("k.audio"), k[0], 1e-6);
    }
  }
}

TEST(Ogm, WorksFromItsFirstToItsLastEpoch) {
  const auto method = read({{"type", text("ogm")}, {"starts", integer(1)}, {"ends", integer(2)}});
  const Batch batch = make_batch(2);
  const auto plain = naive_gradients(*make_model("sum", 2), batch.inputs, GradientRoute::joint());
  for (int64_t epoch = 1; epoch <= 4; ++epoch) {
    bool equal = true;
    for (const auto& [name, gradient] :
         gradients_by(*method, *make_model("sum", 2), batch, epoch)) {
      equal = equal && torch::allclose(gradient, plain.at(name), 1e-9, 1e-12);
    }
    EXPECT_EQ(equal, epoch == 1 || epoch == 4) << epoch;
  }
}

TEST(Ogm, GeAddsNoiseOfTheGradientsOwnSpread) {
  const Batch batch = make_batch(2);
  const auto plain = gradients_by(*read({{"type", text("ogm")}}), *make_model("sum", 2), batch);
  const auto unscaled =
      naive_gradients(*make_model("sum", 2), batch.inputs, GradientRoute::joint());
  const auto method = read({{"type", text("ogm-ge")}});
  torch::Tensor noise;
  constexpr int kDraws = 400;
  const std::string name = "encoders.audio.fc.weight";
  torch::manual_seed(5);
  for (int i = 0; i < kDraws; ++i) {
    const auto gradients = gradients_by(*method, *make_model("sum", 2), batch);
    for (const auto& [other, gradient] : gradients) {
      if (other.starts_with("fusion.")) {
        EXPECT_TRUE(torch::equal(gradient, plain.at(other))) << other;
      }
    }
    const torch::Tensor one = (gradients.at(name) - plain.at(name)).reshape({-1});
    noise = noise.defined() ? torch::cat({noise, one}) : one;
  }
  const double spread = unscaled.at(name).std().item<double>();
  EXPECT_NEAR(noise.std().item<double>() / spread, 1.0, 0.05);
  EXPECT_NEAR(noise.mean().item<double>() / spread, 0.0, 0.05);
}

TEST(Ogm, ConvLeavesOtherParametersAlone) {
  const auto method = read({{"type", text("ogm")}, {"parameters", text("conv")}});
  const Batch batch = make_batch(2);
  const auto plain = naive_gradients(*make_model("sum", 2), batch.inputs, GradientRoute::joint());
  for (const auto& [name, gradient] : gradients_by(*method, *make_model("sum", 2), batch)) {
    EXPECT_TRUE(same(gradient, plain.at(name))) << name;
  }
}

TEST(ModalityScores, SharesAddUpToTheFusedOutput) {
  const torch::Tensor mask =
      torch::tensor({true, true, true, false, false, true, true, true, true, true}).view({5, 2});
  const Presence presence(mask);
  torch::manual_seed(3);
  const ModalityTensors alone{torch::randn({4, 3}), torch::randn({4, 3})};
  const torch::Tensor fused = torch::randn({5, 3});
  const auto shares = shares_of_output(alone, fused, presence);
  EXPECT_TRUE(
      torch::allclose(presence.spread(shares[0], 0) + presence.spread(shares[1], 1), fused));
  // A sample with one modality has all of its output in that one.
  EXPECT_TRUE(torch::allclose(shares[0][1], fused[1]));
  // The rest is shared equally.
  EXPECT_TRUE(torch::allclose(shares[0][0] - alone[0][0], shares[1][0] - alone[1][0]));
}

TEST(ModalityScores, ProbabilitiesAreOfTheTrueClass) {
  const ModalityTensors logits{torch::log(torch::tensor({{0.2, 0.8}, {0.5, 0.5}})),
                               torch::Tensor()};
  const auto scores = true_class_probabilities(logits, torch::tensor({1, 0}), Presence());
  EXPECT_NEAR(scores[0], 0.65, 1e-6);
  EXPECT_TRUE(std::isnan(scores[1]));
}

}  // namespace
}  // namespace unbraid
