#include "unbraid/training/freezing.h"

#include <gtest/gtest.h>

#include "unbraid/core/error.h"

namespace unbraid {
namespace {

struct Model : torch::nn::Module {
  Model() {
    for (const char* name : {"audio", "visual"}) {
      register_module(name,
                      torch::nn::Sequential(torch::nn::Linear(2, 2), torch::nn::BatchNorm1d(2),
                                            torch::nn::Dropout(0.5)));
    }
  }

  bool training(const std::string& name) { return named_modules("", false)[name]->is_training(); }
};

TEST(Freeze, MatchedParametersAreOutOfTraining) {
  Model model;
  freeze(model, {"audio.*", "*.0.bias"}, "train.freeze");
  for (const auto& parameter : model.named_parameters()) {
    EXPECT_EQ(parameter.value().requires_grad(),
              !parameter.key().starts_with("audio.") && parameter.key() != "visual.0.bias")
        << parameter.key();
  }
  Model free;
  freeze(free, {}, "train.freeze");
  EXPECT_TRUE(free.parameters()[0].requires_grad());
}

TEST(Freeze, RefusesPatternsForNothingAndForEverything) {
  Model model;
  EXPECT_THROW(freeze(model, {"audoi.*"}, "train.freeze"), RecipeError);
  EXPECT_TRUE(model.parameters()[0].requires_grad());
  EXPECT_THROW(freeze(model, {"audio.*", "visual.*"}, "train.freeze"), RecipeError);
  EXPECT_THROW(freeze(model, {"*"}, "train.freeze"), RecipeError);
}

TEST(TrainUnfrozen, WhatIsFrozenAsAWholeIsNotInTrainingMode) {
  Model model;
  freeze(model, {"audio.*", "visual.1.*"}, "train.freeze");
  model.eval();
  train_unfrozen(model);
  for (const auto& [name, training] :
       std::vector<std::pair<std::string, bool>>{{"audio", false},
                                                 {"audio.1", false},
                                                 {"audio.2", false},
                                                 {"visual", true},
                                                 {"visual.0", true},
                                                 {"visual.1", false},
                                                 {"visual.2", true}}) {
    EXPECT_EQ(model.training(name), training) << name;
  }
  EXPECT_TRUE(model.is_training());
  Model half;
  freeze(half, {"visual.1.weight"}, "train.freeze");
  train_unfrozen(half);
  EXPECT_TRUE(half.training("visual.1"));
}

}  // namespace
}  // namespace unbraid
