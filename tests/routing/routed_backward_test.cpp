#include "unbraid/routing/routed_backward.h"

#include <stdexcept>

#include <gtest/gtest.h>

#include "routing/routing_fixtures.h"

namespace unbraid {
namespace {

using namespace unbraid::testing;  // NOLINT(google-build-using-namespace)

struct Case {
  std::string fusion;
  size_t modalities;
};

const std::vector<Case> kCases{
    {"concat", 1}, {"concat", 2},  {"concat", 3},  {"sum", 2},     {"sum", 3},
    {"film", 1},   {"film", 2},    {"gated", 1},   {"gated", 2},   {"normed", 2},
    {"normed", 3}, {"decoder", 1}, {"decoder", 2}, {"decoder", 3},
};

void expect_equal(const Gradients& expected, const Gradients& actual) {
  ASSERT_EQ(expected.size(), actual.size());
  for (const auto& [name, gradient] : expected) {
    const torch::Tensor& other = actual.at(name);
    ASSERT_EQ(gradient.defined(), other.defined()) << name;
    if (gradient.defined()) {
      EXPECT_TRUE(torch::allclose(gradient, other, 1e-10, 1e-12)) << name << ": expected\n"
                                                                  << gradient << "\ngot\n"
                                                                  << other;
    }
  }
}

TEST(RoutedBackward, EqualsTheNaiveComputationForEveryFusionAndRoute) {
  for (const Case& one : kCases) {
    const ModalityTensors inputs = make_inputs(one.modalities);
    for (const NamedRoute& named : routes_for(one.modalities)) {
      SCOPED_TRACE(one.fusion + " of " + std::to_string(one.modalities) + ", " + named.name);
      MultimodalModel reference = make_model(one.fusion, one.modalities);
      const Gradients expected = naive_gradients(*reference, inputs, named.route);
      MultimodalModel model = make_model(one.fusion, one.modalities);
      routed_backward(*model, inputs, cross_entropy, named.route);
      expect_equal(expected, gradients_of(*model));
    }
  }
}

TEST(RoutedBackward, ARuleDecidesWhatEncodersGet) {
  const auto inputs = make_inputs(2);
  const GradientRoute route{0.5, 1.0, 2.0, 0.0};
  MultimodalModel unruled = make_model("gated", 2);
  routed_backward(*unruled, inputs, cross_entropy, route);
  MultimodalModel model = make_model("gated", 2);
  const auto result = routed_backward(
      *model, inputs, Presence(),
      [](const torch::Tensor& output, std::optional<size_t>) { return cross_entropy(output); },
      route, 1.0,
      [](const ModalityTensors& features, const RoutedResult& so_far,
         const FeatureGradients& gradients) {
        EXPECT_TRUE(so_far.output.defined());
        EXPECT_TRUE(so_far.output_alone[0].defined());
        EXPECT_EQ(features[0].sizes(), gradients.unimodal[0].sizes());
        return ModalityTensors{3 * (gradients.multimodal[0] + gradients.unimodal[0]),
                               torch::Tensor()};
      });
  EXPECT_TRUE(result.loss.defined());
  const auto expected = gradients_of(*unruled);
  for (const auto& [name, gradient] : gradients_of(*model)) {
    if (name.starts_with("encoders.image.")) {
      EXPECT_FALSE(gradient.defined()) << name;
      continue;
    }
    const double weight = name.starts_with("encoders.") ? 3.0 : 1.0;
    ASSERT_TRUE(gradient.defined()) << name;
    EXPECT_TRUE(torch::allclose(gradient, weight * expected.at(name), 1e-10, 1e-12)) << name;
  }
}

TEST(RoutedBackward, AddsToGradientsTimesItsScale) {
  const ModalityTensors inputs = make_inputs(2);
  for (const NamedRoute& named : routes_for(2)) {
    SCOPED_TRACE(named.name);
    MultimodalModel once = make_model("gated", 2);
    routed_backward(*once, inputs, cross_entropy, named.route);
    MultimodalModel twice = make_model("gated", 2);
    routed_backward(*twice, inputs, cross_entropy, named.route, 0.25);
    routed_backward(*twice, inputs, cross_entropy, named.route, 0.75);
    expect_equal(gradients_of(*once), gradients_of(*twice));
  }
}

TEST(RoutedBackward, ReturnsOutputsAndLossesWithoutGraph) {
  const ModalityTensors inputs = make_inputs(2);
  MultimodalModel model = make_model("concat", 2);
  const RoutedResult result =
      routed_backward(*model, inputs, cross_entropy, GradientRoute::auxiliary(1.0));
  const torch::NoGradGuard no_grad;
  MultimodalModel fresh = make_model("concat", 2);
  EXPECT_TRUE(torch::allclose(result.output, fresh->forward(inputs)));
  EXPECT_TRUE(torch::allclose(result.loss, cross_entropy(fresh->forward(inputs))));
  for (size_t m = 0; m < 2; ++m) {
    const torch::Tensor alone = fresh->alone(m, fresh->encode(m, inputs[m]));
    EXPECT_TRUE(torch::allclose(result.output_alone[m], alone));
    EXPECT_TRUE(torch::allclose(result.loss_alone[m], cross_entropy(alone)));
    EXPECT_FALSE(result.loss_alone[m].requires_grad());
  }
  EXPECT_FALSE(result.output.requires_grad());
}

// Which parameters each route reaches, as the table of the paper says.
TEST(RoutedBackward, ReachesWhatTheTableSays) {
  struct Row {
    NamedRoute route;
    bool encoders;
    bool fusion;
  };
  const std::vector<Row> rows{
      {{"joint", GradientRoute::joint()}, true, true},
      {{"auxiliary", GradientRoute::auxiliary(1.0)}, true, true},
      {{"dgl", GradientRoute::dgl(1.0)}, true, true},
      {{"multimodal loss to the fusion alone", {0.0, 1.0, 0.0, 0.0}}, false, true},
      {{"multimodal loss to the encoders alone", {1.0, 0.0, 0.0, 0.0}}, true, false},
      {{"unimodal losses to the encoders alone", {0.0, 0.0, 1.0, 0.0}}, true, false},
      {{"unimodal losses to the fusion alone", {0.0, 0.0, 0.0, 1.0}}, false, true},
  };
  for (const Case& one : kCases) {
    for (const Row& row : rows) {
      SCOPED_TRACE(one.fusion + ", " + row.route.name);
      MultimodalModel model = make_model(one.fusion, one.modalities);
      routed_backward(*model, make_inputs(one.modalities), cross_entropy, row.route.route);
      for (const auto& [name, gradient] : gradients_of(*model)) {
        EXPECT_EQ(gradient.defined(), name.starts_with("fusion.") ? row.fusion : row.encoders)
            << name;
      }
    }
  }
}

TEST(RoutedBackward, LeavesWhatNoLossReachesUndefinedPerModality) {
  MultimodalModel model = make_model("concat", 3);
  routed_backward(*model, make_inputs(3), cross_entropy,
                  {std::vector<double>{0, 1, 0}, 0.0, std::vector<double>{0, 0, 2}, 0.0});
  for (const auto& [name, gradient] : gradients_of(*model)) {
    EXPECT_EQ(gradient.defined(),
              name.starts_with("encoders.image.") || name.starts_with("encoders.text."))
        << name;
  }
}

// The reference code cuts after the projections: under DGL they never receive a gradient, while the
// encoders and the output layer are trained exactly as by the corrected fusion.
TEST(RoutedBackward, ReleasedGatedFusionNeverTrainsItsProjections) {
  const ModalityTensors inputs = make_inputs(2);
  MultimodalModel released = make_model("gated-released", 2);
  MultimodalModel corrected = make_model("gated", 2);
  routed_backward(*released, inputs, cross_entropy, GradientRoute::dgl(4.0));
  routed_backward(*corrected, inputs, cross_entropy, GradientRoute::dgl(4.0));
  Gradients expected = gradients_of(*corrected);
  for (auto& [name, gradient] : expected) {
    if (name.starts_with("fusion.fc_audio") || name.starts_with("fusion.fc_image")) {
      EXPECT_TRUE(gradient.defined()) << name;
      gradient = torch::Tensor();
    }
  }
  expect_equal(expected, gradients_of(*released));
}

class NormedFusionKinds : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(RoutedBackward, NormedFusionKinds, ::testing::Values("normed", "decoder"));

TEST_P(NormedFusionKinds, UnimodalPassesThatDoNotTrainTheFusionLeaveItUntouched) {
  const ModalityTensors inputs = make_inputs(2);
  MultimodalModel model = make_model(GetParam(), 2);
  MultimodalModel only_multimodal = make_model(GetParam(), 2);
  routed_backward(*model, inputs, cross_entropy, GradientRoute::dgl(2.0));
  routed_backward(*only_multimodal, inputs, cross_entropy, {0.0, 1.0, 0.0, 0.0});
  const auto expected = only_multimodal->fusion().named_buffers();
  const auto untouched = make_model(GetParam(), 2)->fusion().named_buffers();
  for (const auto& buffer : model->fusion().named_buffers()) {
    EXPECT_TRUE(torch::equal(buffer.value(), expected[buffer.key()])) << buffer.key();
    EXPECT_FALSE(torch::equal(buffer.value(), untouched[buffer.key()])) << buffer.key();
  }
  MultimodalModel unimodal = make_model(GetParam(), 2);
  routed_backward(*unimodal, inputs, cross_entropy, {0.0, 0.0, 1.0, 0.0});
  for (const auto& buffer : unimodal->fusion().named_buffers()) {
    EXPECT_TRUE(torch::equal(buffer.value(), untouched[buffer.key()])) << buffer.key();
  }
  for (const auto& parameter : unimodal->fusion().named_parameters()) {
    EXPECT_TRUE(parameter.value().requires_grad()) << parameter.key();
  }
}

TEST(RoutedBackward, UnimodalPassesThatTrainTheFusionUpdateItsStatistics) {
  MultimodalModel model = make_model("normed", 2);
  routed_backward(*model, make_inputs(2), cross_entropy, GradientRoute::auxiliary(1.0));
  EXPECT_EQ(model->fusion().named_buffers()["bn.num_batches_tracked"].item<int64_t>(), 3);
}

TEST(RoutedBackward, RespectsFrozenParameters) {
  MultimodalModel model = make_model("gated", 2);
  for (torch::Tensor& parameter : model->encoder(0).parameters()) {
    parameter.set_requires_grad(false);
  }
  model->fusion().named_parameters()["fc_out.bias"].set_requires_grad(false);
  routed_backward(*model, make_inputs(2), cross_entropy, GradientRoute::dgl(1.0));
  for (const auto& [name, gradient] : gradients_of(*model)) {
    EXPECT_EQ(gradient.defined(),
              !name.starts_with("encoders.audio.") && name != "fusion.fc_out.bias")
        << name;
  }
  EXPECT_FALSE(model->fusion().named_parameters()["fc_out.bias"].requires_grad());
}

// What is frozen changes nothing for the rest, under any route.
TEST(RoutedBackward, FrozenPartsLeaveTheOthersGradientsAsTheyAre) {
  const ModalityTensors inputs = make_inputs(2);
  for (const char* fusion : {"concat", "gated", "normed"}) {
    for (const NamedRoute& named : routes_for(2)) {
      for (const char* frozen : {"encoders.audio.", "encoders.image.fc.", "fusion."}) {
        SCOPED_TRACE(std::string(fusion) + ", " + named.name + ", " + frozen);
        MultimodalModel reference = make_model(fusion, 2);
        Gradients expected = naive_gradients(*reference, inputs, named.route);
        MultimodalModel model = make_model(fusion, 2);
        for (auto& parameter : model->named_parameters()) {
          if (parameter.key().starts_with(frozen)) {
            parameter.value().set_requires_grad(false);
            expected[parameter.key()] = torch::Tensor();
          }
        }
        routed_backward(*model, inputs, cross_entropy, named.route);
        expect_equal(expected, gradients_of(*model));
      }
    }
  }
}

/// The identity; counts its backward passes.
struct CountedIdentity : torch::autograd::Function<CountedIdentity> {
  static torch::Tensor forward(torch::autograd::AutogradContext* /*context*/,
                               const torch::Tensor& x) {
    return x.clone();
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* /*context*/,
                                                 torch::autograd::variable_list gradients) {
    ++passes;
    return gradients;
  }
  static inline int passes = 0;
};

TEST(RoutedBackward, AFrozenEncoderUnderDglCostsNoBackwardPass) {
  for (const bool frozen : {false, true}) {
    MultimodalModel model = make_model("concat", 2);
    for (torch::Tensor& parameter : model->encoder(0).parameters()) {
      parameter.set_requires_grad(!frozen);
    }
    CountedIdentity::passes = 0;
    const RoutedResult result = routed_backward(
        *model, make_inputs(2),
        [](const torch::Tensor& output) { return cross_entropy(CountedIdentity::apply(output)); },
        GradientRoute::dgl(1.0));
    EXPECT_EQ(CountedIdentity::passes, frozen ? 2 : 3);  // one is of the multimodal loss
    EXPECT_TRUE(result.loss_alone[0].defined());
  }
}

TEST(RoutedBackward, AnAbsentInputTrainsNothingOfItsOwn) {
  const ModalityTensors inputs = make_inputs(3);
  MultimodalModel model = make_model("concat", 3);
  routed_backward(*model, {inputs[0], torch::Tensor(), inputs[2]}, cross_entropy,
                  GradientRoute::auxiliary(1.0));
  for (const auto& [name, gradient] : gradients_of(*model)) {
    EXPECT_EQ(gradient.defined(), !name.starts_with("encoders.image.")) << name;
  }
}

TEST(RoutedBackward, RefusesWhatDoesNotFit) {
  MultimodalModel model = make_model("concat", 2);
  EXPECT_THROW(routed_backward(*model, make_inputs(2), cross_entropy, {0.0, 0.0, 0.0, 0.0}),
               std::invalid_argument);
  EXPECT_THROW(routed_backward(*model, make_inputs(2), cross_entropy, GradientRoute::dgl(-1.0)),
               std::invalid_argument);
  EXPECT_THROW(routed_backward(*model, make_inputs(2), cross_entropy,
                               {std::vector<double>{1, 1, 1}, 1.0, 0.0, 0.0}),
               std::invalid_argument);
  EXPECT_THROW(routed_backward(*model, make_inputs(3), cross_entropy, GradientRoute::joint()),
               c10::Error);
}

/// An encoder that notes how many graphs of all encoders are alive when one starts.
class CountingEncoderImpl : public torch::nn::Module {
 public:
  explicit CountingEncoderImpl(std::vector<std::weak_ptr<torch::autograd::Node>>* graphs,
                               std::vector<int>* alive)
      : fc_(register_module("fc", torch::nn::Linear(kInputs, kFeature))),
        graphs_(graphs),
        alive_(alive) {}
  torch::Tensor forward(const torch::Tensor& x) {
    int alive = 0;
    for (const auto& graph : *graphs_) {
      alive += graph.expired() ? 0 : 1;
    }
    alive_->push_back(alive);
    torch::Tensor z = torch::tanh(fc_(x));
    graphs_->push_back(z.grad_fn());
    return z;
  }

 private:
  torch::nn::Linear fc_;
  std::vector<std::weak_ptr<torch::autograd::Node>>* graphs_;
  std::vector<int>* alive_;
};
TORCH_MODULE(CountingEncoder);

TEST(RoutedBackward, FreesAnEncodersGraphBeforeTheNextStartsUnlessTheMultimodalLossNeedsIt) {
  const auto alive_under = [](const GradientRoute& route) {
    std::vector<std::weak_ptr<torch::autograd::Node>> graphs;
    std::vector<int> alive;
    MultimodalModel model;
    for (const char* name : {"audio", "image", "text"}) {
      model->add_encoder(name, CountingEncoder(&graphs, &alive));
    }
    set_fusion(model, "concat");
    model->to(torch::kDouble);
    routed_backward(*model, make_inputs(3), cross_entropy, route);
    return alive;
  };
  EXPECT_EQ(alive_under(GradientRoute::dgl(1.0)), (std::vector<int>{0, 0, 0}));
  EXPECT_EQ(alive_under(GradientRoute::joint()), (std::vector<int>{0, 1, 2}));
  // Only the first modality waits, so it comes last.
  EXPECT_EQ(alive_under({std::vector<double>{1, 0, 0}, 1.0, 1.0, 0.0}),
            (std::vector<int>{0, 0, 0}));
}

}  // namespace
}  // namespace unbraid
