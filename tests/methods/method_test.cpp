#include "unbraid/methods/method.h"

#include <gtest/gtest.h>

#include "methods/testing.h"
#include "unbraid/core/autocast.h"
#include "unbraid/tasks/regression.h"

namespace unbraid {
namespace {

using testing::Entries;
using testing::number;
using testing::read;
using testing::text;

TEST(Method, YieldsTheRouteOfItsName) {
  EXPECT_EQ(read({{"type", text("joint")}})->route(), GradientRoute::joint());
  EXPECT_EQ(read({{"type", text("auxiliary")}})->route(), GradientRoute::auxiliary(1.0));
  EXPECT_EQ(read({{"type", text("auxiliary")}, {"alpha", number(0.3)}})->route(),
            GradientRoute::auxiliary(0.3));
  EXPECT_EQ(read({{"type", text("dgl")}})->route(), GradientRoute::dgl(4.0));
  EXPECT_EQ(read({{"type", text("dgl")}, {"alpha", number(2.0)}})->route(),
            GradientRoute::dgl(2.0));
  EXPECT_EQ(read({{"type", text("dgl")}})->name(), "dgl");
}

TEST(Method, UnimodalKeepsOneModality) {
  const auto method = read({{"type", text("unimodal")}, {"modality", text("visual")}});
  EXPECT_EQ(method->modalities({"audio", "visual"}), std::vector<std::string>{"visual"});
  EXPECT_EQ(method->route(), GradientRoute::joint());
  EXPECT_THROW(read({{"type", text("unimodal")}, {"modality", text("lidar")}}), RecipeError);
  EXPECT_THROW(read({{"type", text("unimodal")}}), RecipeError);
  EXPECT_EQ(read({{"type", text("dgl")}})->modalities({"audio", "visual"}).size(), 2);
}

TEST(Method, RouteTakesFourWeights) {
  const Value list{Value::List{number(0.5), number(0.0)}, "r.toml:4"};
  EXPECT_EQ(read({{"type", text("route")},
                  {"multimodal_to_encoder", list},
                  {"multimodal_to_fusion", number(1)},
                  {"unimodal_to_encoder", number(2)},
                  {"unimodal_to_fusion", number(0)}})
                ->route(),
            (GradientRoute{std::vector<double>{0.5, 0.0}, 1.0, 2.0, 0.0}));
}

TEST(Method, RouteRefusesBadWeights) {
  const auto with = [](Value first) {
    return Entries{{"type", text("route")},
                   {"multimodal_to_encoder", std::move(first)},
                   {"multimodal_to_fusion", number(0)},
                   {"unimodal_to_encoder", number(0)},
                   {"unimodal_to_fusion", number(0)}};
  };
  EXPECT_NO_THROW(read(with(number(1))));
  EXPECT_THROW(read(with(number(-1))), RecipeError);
  EXPECT_THROW(read(with(number(0))), RecipeError);
  try {
    read(with({Value::List{number(1)}, "r.toml:4"}));
    ADD_FAILURE() << "nothing was thrown";
  } catch (const RecipeError& error) {
    EXPECT_NE(
        std::string(error.what()).find("method.multimodal_to_encoder: expected a number or 2"),
        std::string::npos)
        << error.what();
  }
  EXPECT_THROW(read({{"type", text("route")}, {"multimodal_to_encoder", number(1)}}), RecipeError);
}

TEST(Method, ThoseThatLookAtClassesRefuseOtherTasks) {
  const auto numbers = std::make_shared<Regression>(RegressionOptions{});
  EXPECT_NO_THROW(read({{"type", text("dgl")}}, {"audio"}, *numbers));
  for (const char* type :
       {"ogm", "ogm-ge", "pmr", "agm", "opm", "arl", "cml", "reconboost", "relearning"}) {
    EXPECT_THROW(read({{"type", text(type)}}, {"audio", "visual"}, *numbers), RecipeError) << type;
  }
}

/// What reading a recipe's [method] table says.
std::string refusal_of(const Entries& entries,
                       const std::vector<std::string>& modalities = {"audio", "visual"}) {
  try {
    read(entries, modalities);
  } catch (const RecipeError& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(Method, ThoseThatWeighModalitiesAgainstEachOtherNeedTwo) {
  for (const char* type : {"ogm", "ogm-ge", "pmr", "agm", "g-blending", "opm", "arl", "cml"}) {
    const std::string said = refusal_of({{"type", text(type)}}, {"audio"});
    EXPECT_TRUE(said.starts_with("r.toml:2: method.type: expected ") && said.ends_with("got 1"))
        << said;
  }
  for (const char* type : {"joint", "dgl", "mmpareto", "mla", "reconboost", "relearning"}) {
    EXPECT_NO_THROW(read({{"type", text(type)}}, {"audio"})) << type;
  }
}

TEST(Method, AWindowHasEpochs) {
  for (const char* type : {"ogm", "pmr", "agm", "opm"}) {
    EXPECT_EQ(
        refusal_of(
            {{"type", text(type)}, {"starts", testing::integer(5)}, {"ends", testing::integer(4)}}),
        "r.toml:3: method.ends: expected ends to be starts or later, got 5 to 4")
        << type;
    EXPECT_TRUE(
        refusal_of({{"type", text(type)}, {"starts", testing::integer(2000)}})
            .starts_with("r.toml:3: method.starts: expected ends to be starts or later, got 2000"))
        << type;
    EXPECT_NO_THROW(read(
        {{"type", text(type)}, {"starts", testing::integer(5)}, {"ends", testing::integer(5)}}))
        << type;
  }
}

TEST(Method, ABaseIsJointOrDgl) {
  for (const char* type : {"ogm", "ogm-ge", "pmr", "relearning"}) {
    EXPECT_EQ(read({{"type", text(type)}})->route(), GradientRoute::joint()) << type;
    EXPECT_EQ(
        read({{"type", text(type)}, {"base", text("dgl")}, {"base_alpha", number(2)}})->route(),
        GradientRoute::dgl(2))
        << type;
    EXPECT_EQ(
        refusal_of({{"type", text(type)}, {"base", text("dlg")}}),
        "r.toml:2: method.base: expected one of \"joint\", \"dgl\", got \"dlg\"; did you mean "
        "\"dgl\"?");
    EXPECT_EQ(refusal_of({{"type", text(type)}, {"base_alpha", number(2)}}),
              "r.toml:3: method.base_alpha: expected it with base = \"dgl\" alone");
  }
  EXPECT_EQ(refusal_of({{"type", text("arl")}, {"base", text("dgl")}, {"gamma", number(2)}}),
            "r.toml:3: method.gamma: expected base_alpha in its place with base = \"dgl\"");
}

TEST(Method, ThoseThatTakeNoBaseSayWhy) {
  for (const char* type :
       {"agm", "g-blending", "mmpareto", "mla", "mmcosine", "opm", "reconboost", "cml"}) {
    const std::string said = refusal_of({{"type", text(type)}, {"base", text("dgl")}});
    EXPECT_TRUE(said.starts_with(
        "r.toml:2: method.base: expected a method that takes a base: of this one, "))
        << type << ": " << said;
  }
}

/// What a model that `type` trains has lost of its loss after some steps of plain gradient descent.
double share_of_loss_left(const char* type, size_t modalities) {
  const auto shape = testing::shape_of(modalities);
  const auto method = read({{"type", text(type)}}, shape.modalities);
  torch::manual_seed(7);
  MultimodalModel model;
  for (const std::string& name : shape.modalities) {
    model->add_encoder(name, testing::NormedEncoder());
  }
  model->set_fusion(method->fusion(
      "concat", [](const FusionShape& of) { return std::make_shared<ConcatFusion>(of); })(shape));
  model->to(torch::kDouble);
  const Batch batch = testing::make_batch(modalities);
  const auto loss = [&] {
    const torch::NoGradGuard no_grad;
    return testing::cross_entropy(model->forward(batch.inputs)).item<double>();
  };
  const auto update = [&] {
    const torch::NoGradGuard no_grad;
    for (torch::Tensor& parameter : model->parameters()) {
      if (parameter.grad().defined()) {
        parameter.sub_(parameter.grad(), 0.05);
        parameter.mutable_grad() = torch::Tensor();
      }
    }
  };
  const double before = loss();
  const auto for_each_encoded = [&](const FeaturePass& /*pass*/, const auto& use) {
    const torch::NoGradGuard no_grad;
    ModalityTensors features;
    for (size_t m = 0; m < modalities; ++m) {
      features.push_back(model->encode(m, batch.inputs[m]));
    }
    use(batch, features);
  };
  const auto try_out = [&](const Trial& trial) {
    std::vector<torch::Tensor> kept;
    for (const torch::Tensor& parameter : model->parameters()) {
      kept.push_back(parameter.detach().clone());
    }
    for (int64_t i = 0; i < trial.epochs; ++i) {
      trial.backward({.model = *model, .batch = batch, .task = *testing::classification()});
      update();
    }
    trial.look();
    const torch::NoGradGuard no_grad;
    for (size_t i = 0; i < kept.size(); ++i) {
      model->parameters()[i].copy_(kept[i]);
    }
  };
  constexpr int64_t kEpochs = 60;
  for (int64_t epoch = 1; epoch <= kEpochs; ++epoch) {
    method->begin_epoch({.model = *model,
                         .epoch = epoch,
                         .epochs = kEpochs,
                         .count = 1,
                         .task = testing::classification().get(),
                         .for_each_encoded = for_each_encoded,
                         .try_out = try_out});
    model->train();
    method->backward({.model = *model,
                      .batch = batch,
                      .task = *testing::classification(),
                      .epoch = epoch,
                      .update = update});
    update();
  }
  return loss() / before;
}

TEST(Method, EveryOneLearns) {
  for (const char* type :
       {"joint", "auxiliary", "dgl", "soft-dgl", "gated-dgl", "ogm", "ogm-ge", "pmr", "agm",
        "g-blending", "mmpareto", "mla", "mmcosine", "opm", "arl", "cml", "relearning"}) {
    for (const size_t modalities : {2, 3}) {
      EXPECT_LT(share_of_loss_left(type, modalities), 0.8) << type << " of " << modalities;
    }
  }
}

/// Those that choose gradients at each step, at work from the first epoch.
std::vector<Entries> choosing_methods() {
  return {{{"type", text("gated-dgl")}}, {{"type", text("ogm")}},
          {{"type", text("pmr")}},       {{"type", text("pmr")}, {"base", text("dgl")}},
          {{"type", text("agm")}},       {{"type", text("g-blending")}},
          {{"type", text("mmpareto")}},  {{"type", text("opm")}, {"probability", number(1)}},
          {{"type", text("cml")}},       {{"type", text("arl")}, {"starts", testing::integer(0)}}};
}

/// Of the second of two steps, so that what a method remembers plays its part.
testing::Gradients gradients_of_second_step(const Entries& entries, MultimodalModelImpl& model,
                                            const Batch& batch, double scale = 1.0) {
  const auto method = read(entries, {"audio", "image"});
  method->begin_epoch(
      {.model = model,
       .task = testing::classification().get(),
       .for_each_encoded =
           [&](const FeaturePass& /*pass*/, const auto& use) {
             const torch::NoGradGuard no_grad;
             use(batch, {model.encode(0, batch.inputs[0]), model.encode(1, batch.inputs[1])});
           },
       .try_out = [](const Trial& trial) { trial.look(); }});
  for (int step = 0; step < 2; ++step) {
    for (torch::Tensor& parameter : model.parameters()) {
      parameter.mutable_grad() = torch::Tensor();
    }
    torch::manual_seed(3);
    method->backward(
        {.model = model, .batch = batch, .task = *testing::classification(), .scale = scale});
  }
  return testing::gradients_of(model);
}

TEST(Method, ScaleIsAFactorOfEveryGradient) {
  const Batch batch = testing::make_incomplete_batch(2);
  for (const Entries& entries : choosing_methods()) {
    SCOPED_TRACE(read(entries)->name());
    const auto whole = gradients_of_second_step(entries, *testing::make_model("concat", 2), batch);
    for (const auto& [name, gradient] :
         gradients_of_second_step(entries, *testing::make_model("concat", 2), batch, 0.25)) {
      EXPECT_TRUE(testing::same(gradient, whole.at(name) * 0.25)) << name;
    }
  }
}

TEST(Method, FrozenPartsGetNoGradient) {
  const Batch batch = testing::make_incomplete_batch(2);
  for (const char* trained : {"encoders.image.", "fusion.", "nothing"}) {
    for (const Entries& entries : choosing_methods()) {
      SCOPED_TRACE(read(entries)->name());
      MultimodalModel model = testing::make_model("concat", 2);
      for (const auto& parameter : model->named_parameters()) {
        parameter.value().set_requires_grad(parameter.key().starts_with(trained));
      }
      for (const auto& [name, gradient] : gradients_of_second_step(entries, *model, batch)) {
        EXPECT_EQ(gradient.defined(), name.starts_with(trained)) << name;
      }
    }
  }
}

TEST(Method, AutomaticCastingChangesLittle) {
  Batch batch = testing::make_incomplete_batch(2);
  for (torch::Tensor& input : batch.inputs) {
    input = input.to(torch::kFloat);
  }
  for (const Entries& entries : choosing_methods()) {
    SCOPED_TRACE(read(entries)->name());
    const auto gradients = [&](bool casting) {
      MultimodalModel model = testing::make_model("gated", 2);
      model->to(torch::kFloat);
      const AutocastGuard precision(torch::kCPU, casting);
      return gradients_of_second_step(entries, *model, batch);
    };
    const auto expected = gradients(false);
    for (const auto& [name, gradient] : gradients(true)) {
      ASSERT_EQ(gradient.defined(), expected.at(name).defined()) << name;
      if (gradient.defined()) {
        EXPECT_EQ(gradient.scalar_type(), torch::kFloat) << name;
        EXPECT_LT((gradient - expected.at(name)).norm().item<double>(),
                  0.1 * expected.at(name).norm().item<double>() + 2e-3)
            << name;
      }
    }
  }
}

TEST(Method, RefusesUnknownNamesAndKeys) {
  EXPECT_THROW(read({{"type", text("gdl")}}), RecipeError);
  EXPECT_THROW(read({{"type", text("joint")}, {"alpha", number(1)}}), RecipeError);
  EXPECT_THROW(read({{"type", text("dgl")}, {"alpha", number(-1)}}), RecipeError);
}

}  // namespace
}  // namespace unbraid
