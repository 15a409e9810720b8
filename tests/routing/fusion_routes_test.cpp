#include <gtest/gtest.h>

#include "models/fusion_cases.h"

namespace unbraid {
namespace {

using namespace unbraid::testing;  // NOLINT(google-build-using-namespace)

/// [B, kInputs] to a feature of any kind.
class ShapedEncoderImpl : public torch::nn::Module {
 public:
  explicit ShapedEncoderImpl(FeatureKind kind)
      : kind_(kind), fc_(register_module("fc", torch::nn::Linear(kInputs, kFeature * 8))) {}
  torch::Tensor forward(const torch::Tensor& x) {
    const torch::Tensor y = torch::tanh(fc_(x));
    switch (kind_) {
      case FeatureKind::kVector:
        return y.narrow(1, 0, kFeature);
      case FeatureKind::kTokens:
        return y.narrow(1, 0, 3 * kFeature).view({-1, 3, kFeature});
      default:
        return y.view({-1, kFeature, 4, 2});
    }
  }

 private:
  FeatureKind kind_;
  torch::nn::Linear fc_;
};
TORCH_MODULE(ShapedEncoder);

MultimodalModel model_of(const FusionCase& one) {
  torch::manual_seed(7);
  MultimodalModel model;
  const FusionShape shape = shape_of_case(one);
  for (size_t m = 0; m < shape.modalities.size(); ++m) {
    model->add_encoder(shape.modalities[m], ShapedEncoder(shape.feature_kinds[m]));
  }
  model->to(torch::kDouble);
  model->set_fusion(make_fusion_of(one));
  return model;
}

void expect_equal(const Gradients& expected, const Gradients& actual) {
  for (const auto& [name, gradient] : expected) {
    const torch::Tensor& other = actual.at(name);
    ASSERT_EQ(gradient.defined(), other.defined()) << name;
    EXPECT_TRUE(!gradient.defined() || torch::allclose(gradient, other, 1e-9, 1e-12)) << name;
  }
}

TEST(FusionRoutes, EveryFusionAndRouteEqualsTheNaiveComputation) {
  for (const FusionCase& one : fusion_cases()) {
    const ModalityTensors inputs = make_inputs(one.modalities);
    for (const NamedRoute& named : routes_for(one.modalities)) {
      SCOPED_TRACE(one.type + " of " + std::to_string(one.modalities) + ", " + named.name);
      MultimodalModel reference = model_of(one);
      const Gradients expected = naive_gradients(*reference, inputs, named.route);
      MultimodalModel model = model_of(one);
      routed_backward(*model, inputs, cross_entropy, named.route);
      expect_equal(expected, gradients_of(*model));
    }
  }
}

// Which parameters each route reaches, as the table of the paper says.
TEST(FusionRoutes, ReachesWhatTheTableSays) {
  struct Row {
    std::string name;
    GradientRoute route;
    bool encoders;
    bool fusion;
  };
  const std::vector<Row> rows{
      {"joint", GradientRoute::joint(), true, true},
      {"auxiliary", GradientRoute::auxiliary(1.0), true, true},
      {"dgl", GradientRoute::dgl(1.0), true, true},
      {"dgl without its unimodal losses", {0.0, 1.0, 0.0, 0.0}, false, true},
      {"dgl without its multimodal loss", {0.0, 0.0, 1.0, 0.0}, true, false},
      {"joint to the encoders alone", {1.0, 0.0, 0.0, 0.0}, true, false},
      {"unimodal losses to the fusion alone", {0.0, 0.0, 0.0, 1.0}, false, true},
  };
  for (const FusionCase& one : fusion_cases()) {
    for (const Row& row : rows) {
      SCOPED_TRACE(one.type + " of " + std::to_string(one.modalities) + ", " + row.name);
      MultimodalModel model = model_of(one);
      routed_backward(*model, make_inputs(one.modalities), cross_entropy, row.route);
      for (const auto& [name, gradient] : gradients_of(*model)) {
        EXPECT_EQ(gradient.defined(), name.starts_with("fusion.") ? row.fusion : row.encoders)
            << name;
      }
    }
  }
}

// Training a modality alone leaves undefined what the fusion has for the others.
TEST(FusionRoutes, OneModalityReachesNothingOfTheOthers) {
  for (const FusionCase& one : fusion_cases()) {
    if (one.modalities == 1) {
      continue;
    }
    SCOPED_TRACE(one.type + " of " + std::to_string(one.modalities));
    MultimodalModel model = model_of(one);
    ModalityTensors inputs(one.modalities);
    inputs[1] = make_inputs(2)[1];
    routed_backward(*model, inputs, cross_entropy, GradientRoute::unimodal());
    for (const auto& [name, gradient] : gradients_of(*model)) {
      bool of_another = false;
      for (size_t m = 0; m < one.modalities; ++m) {
        of_another = of_another || (m != 1 && name.find(model->name(m)) != std::string::npos);
      }
      EXPECT_EQ(gradient.defined(), !of_another) << name;
    }
  }
}

TEST(FusionRoutes, SamplesWithoutAModalityAddNoUnimodalLoss) {
  for (const FusionCase& one : fusion_cases()) {
    if (one.modalities == 1) {
      continue;
    }
    torch::Tensor mask = torch::ones({kBatch, static_cast<int64_t>(one.modalities)}, torch::kBool);
    mask[1][0] = false;
    mask[2][1] = false;
    const Presence presence(mask);
    ModalityTensors inputs = make_inputs(one.modalities);
    for (size_t m = 0; m < inputs.size(); ++m) {
      inputs[m] = presence.pack(inputs[m], m);
    }
    for (const NamedRoute& named : routes_for(one.modalities)) {
      SCOPED_TRACE(one.type + " of " + std::to_string(one.modalities) + ", " + named.name);
      MultimodalModel reference = model_of(one);
      const Gradients expected = naive_gradients(*reference, inputs, named.route, presence);
      MultimodalModel model = model_of(one);
      const RoutedResult result = routed_backward(
          *model, inputs, presence,
          [&](const torch::Tensor& output, std::optional<size_t> only) {
            return cross_entropy_of(output, presence, only);
          },
          named.route);
      expect_equal(expected, gradients_of(*model));
      if (result.output_alone[0].defined()) {
        EXPECT_EQ(result.output_alone[0].size(0), kBatch - 1);
      }
    }
  }
}

TEST(FusionRoutes, UnimodalPassesUnderDglLeaveRunningStatisticsAsTheFusedPassMakesThem) {
  const FusionCase mmtm{"mmtm", 2};
  const ModalityTensors inputs = make_inputs(2);
  MultimodalModel model = model_of(mmtm);
  routed_backward(*model, inputs, cross_entropy, GradientRoute::dgl(2.0));
  MultimodalModel fused_only = model_of(mmtm);
  fused_only->forward(inputs);
  const auto expected = fused_only->named_buffers();
  for (const auto& entry : model->named_buffers()) {
    EXPECT_TRUE(torch::allclose(entry.value(), expected[entry.key()])) << entry.key();
  }
  EXPECT_FALSE(expected.is_empty());
}

}  // namespace
}  // namespace unbraid
