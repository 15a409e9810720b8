#include "unbraid/methods/relearning.h"

#include <gtest/gtest.h>

#include "methods/testing.h"

namespace unbraid {
namespace {

using namespace unbraid::testing;  // NOLINT(google-build-using-namespace)

std::shared_ptr<Method> relearning(int64_t every = 1, int64_t times = 2) {
  return read({{"type", text("relearning")}, {"every", integer(every)}, {"times", integer(times)}});
}

/// Features of 12 samples of three classes: of audio, train falls into the classes and val tells
/// nothing; of image, neither does. Two of val lack audio.
void begin(Method& method, MultimodalModelImpl& model, int64_t epoch, int* passes = nullptr) {
  method.begin_epoch({.model = model,
                      .seed = 1,
                      .epoch = epoch,
                      .count = 2,
                      .for_each_encoded = [&](const FeaturePass& pass, const auto& use) {
                        EXPECT_EQ(pass.batches, 0);
                        if (passes != nullptr) {
                          ++*passes;
                        }
                        for (int64_t part = 0; part < 2; ++part) {
                          Batch batch;
                          batch.target = torch::arange(6) % 3;
                          torch::Tensor audio =
                              torch::nn::functional::one_hot(batch.target, kFeature);
                          const torch::Tensor image = torch::ones({6, kFeature}, torch::kDouble);
                          if (pass.of_val) {
                            audio = torch::ones({6, kFeature});
                            torch::Tensor mask = torch::ones({6, 2}, torch::kBool);
                            mask[2][0] = false;
                            batch.presence = Presence(mask);
                            audio = batch.presence.pack(audio, 0);
                          }
                          use(batch, {audio.to(torch::kDouble), image});
                        }
                      }});
}

void change(MultimodalModelImpl& model) {
  const torch::NoGradGuard no_grad;
  for (torch::Tensor& parameter : model.parameters()) {
    parameter.add_(1.0);
  }
}

TEST(Relearning, TheWeightIsThatOfTheReferenceCode) {
  EXPECT_NEAR(Relearning({}).weight(0.2), 0.537050, 1e-6);
}

TEST(Relearning, EncodersGoBackByTheGapOfTheirPurities) {
  const auto method = relearning();
  MultimodalModel model = make_model("concat", 2);
  begin(*method, *model, 1);
  EXPECT_TRUE(method->choices().empty());
  change(*model);
  begin(*method, *model, 2);
  // Equal features are one cluster: 4 of the 10 samples with audio, a third of those with image.
  EXPECT_NEAR(method->choices().at("gap.audio"), 1.0 - 0.4, 1e-9);
  EXPECT_NEAR(method->choices().at("gap.image"), 0.0, 1e-9);
  const double back = std::tanh(3 * 0.6);
  EXPECT_NEAR(method->choices().at("back.audio"), back, 1e-9);
  const auto start = make_model("concat", 2)->named_parameters();
  for (const auto& parameter : model->named_parameters()) {
    const bool audio = parameter.key().starts_with("encoders.audio.");
    EXPECT_TRUE(
        same(parameter.value().detach(), start[parameter.key()] + (audio ? 1.0 - back : 1.0)))
        << parameter.key();
  }
}

TEST(Relearning, HappensAfterSoManyEpochsSoManyTimes) {
  const auto method = relearning(3, 2);
  MultimodalModel model = make_model("sum", 2);
  std::vector<int64_t> epochs;
  for (int64_t epoch = 1; epoch <= 12; ++epoch) {
    int passes = 0;
    begin(*method, *model, epoch, &passes);
    if (passes > 0) {
      EXPECT_EQ(passes, 2);
      epochs.push_back(epoch);
    }
    EXPECT_EQ(method->state().empty(), epoch >= 7) << epoch;
  }
  EXPECT_EQ(epochs, (std::vector<int64_t>{4, 7}));
}

TEST(Relearning, RemembersTheWeightsAtTheStart) {
  const auto method = relearning();
  MultimodalModel model = make_model("concat", 2);
  begin(*method, *model, 1);
  change(*model);
  const auto continued = relearning();
  continued->load_state(method->state());
  MultimodalModel other = make_model("concat", 2);
  change(*other);
  begin(*method, *model, 2);
  begin(*continued, *other, 2);
  for (size_t i = 0; i < model->parameters().size(); ++i) {
    EXPECT_TRUE(torch::equal(model->parameters()[i], other->parameters()[i])) << i;
  }
  continued->load_state({});
  EXPECT_THROW(begin(*continued, *other, 2), StorageError);
}

TEST(Relearning, FrozenParametersStay) {
  const auto method = relearning();
  MultimodalModel model = make_model("concat", 2);
  torch::Tensor frozen = model->encoder(0).parameters()[0];
  frozen.set_requires_grad(false);
  begin(*method, *model, 1);
  change(*model);
  const torch::Tensor before = frozen.clone();
  begin(*method, *model, 2);
  EXPECT_TRUE(torch::equal(frozen, before));
}

TEST(Relearning, TrainsByItsBase) {
  EXPECT_EQ(relearning()->route(), GradientRoute::joint());
  EXPECT_EQ(read({{"type", text("relearning")}, {"base", text("dgl")}})->route(),
            GradientRoute::dgl(4));
  EXPECT_THROW(read({{"type", text("relearning")}, {"every", integer(0)}}), RecipeError);
}

}  // namespace
}  // namespace unbraid
