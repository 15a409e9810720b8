#include "unbraid/models/encoders/encoder.h"

#include <gtest/gtest.h>

#include "unbraid/core/autocast.h"
#include "unbraid/models/encoders/cnn.h"
#include "unbraid/models/encoders/embedding.h"
#include "unbraid/models/encoders/mlp.h"
#include "unbraid/models/encoders/sequence_cnn.h"
#include "unbraid/models/initialisation.h"
#include "unbraid/training/toml.h"

namespace unbraid {
namespace {

/// From an inline table of a recipe, with initial weights of seed 1.
std::shared_ptr<Encoder> build(const std::string& table) {
  const Value recipe = parse_toml("encoder = { " + table + " }", "r.toml");
  Options root(recipe);
  Options options = root.table("encoder");
  const EncoderBuilder builder = read_encoder(options);
  options.finish();
  auto encoder = builder();
  initialise(*encoder, 1);
  return encoder;
}

/// Every type, as small as it gets, with an input that it takes.
struct Example {
  const char* table;
  torch::Tensor input;
};
std::vector<Example> examples() {
  torch::manual_seed(5);
  const torch::Tensor images = torch::randn({6, 2, 32, 32});
  const torch::Tensor sequences = torch::randn({6, 9, 3});
  return {
      {"type = 'resnet18', in_channels = 2, width = 4", images},
      {"type = 'resnet34', in_channels = 2, width = 4, stages = 2", images},
      {"type = 'resnet50', in_channels = 2, width = 4, stages = 2", images},
      {"type = 'cnn', in_channels = 2, channels = [4, 8]", images},
      {"type = 'vit_s', in_channels = 2, image_size = 32, patch = 8, width = 16, depth = 2, "
       "heads = 2",
       images},
      {"type = 'mlp', layers = [27, 8]", sequences},
      {"type = 'cnn1d', in_features = 3, channels = [8], tokens = true", sequences},
      {"type = 'transformer', in_features = 3, width = 8, heads = 2, positions = 'learned', "
       "dropout = 0",
       sequences},
      {"type = 'embedding', vocab_size = 20, size = 8", torch::randint(20, {6, 4}, torch::kLong)},
  };
}

TEST(Encoders, AreInitialisedWhateverLibTorchDrewBefore) {
  for (const Example& example : examples()) {
    torch::manual_seed(1);
    const auto first = build(example.table);
    torch::manual_seed(2);
    const auto second = build(example.table);
    for (const auto& parameter : first->named_parameters()) {
      EXPECT_TRUE(torch::equal(parameter.value(), second->named_parameters()[parameter.key()]))
          << example.table << ": " << parameter.key();
    }
  }
}

TEST(Encoders, LearnWhatTheyAreShown) {
  for (const Example& example : examples()) {
    SCOPED_TRACE(example.table);
    const auto encoder = build(example.table);
    const torch::Tensor target = torch::tensor({0, 1, 0, 1, 1, 0}, torch::kLong);
    torch::nn::Linear head(encoder->feature_size(), 2);
    initialise(*head, 1);
    auto parameters = encoder->parameters();
    for (const torch::Tensor& parameter : head->parameters()) {
      parameters.push_back(parameter);
    }
    torch::optim::Adam optimizer(parameters, torch::optim::AdamOptions(1e-2));
    double first = 0;
    double last = 0;
    for (int step = 0; step < 30; ++step) {
      torch::Tensor feature = encoder->forward(example.input);
      if (encoder->feature_kind() == FeatureKind::kTokens) {
        feature = feature.mean(1);
      } else if (encoder->feature_kind() == FeatureKind::kMap) {
        feature = feature.mean({2, 3});
      }
      ASSERT_EQ(feature.sizes(), (std::vector<int64_t>{6, encoder->feature_size()}));
      const torch::Tensor loss = torch::cross_entropy_loss(head(feature), target);
      last = loss.item<double>();
      first = step == 0 ? last : first;
      optimizer.zero_grad();
      loss.backward();
      optimizer.step();
    }
    EXPECT_LT(last, 0.5 * first);
    for (const auto& parameter : encoder->named_parameters()) {
      EXPECT_TRUE(parameter.value().grad().defined()) << parameter.key();
    }
  }
}

TEST(Encoders, RunUnderAutocastAndInHalfThePrecision) {
  const torch::NoGradGuard no_grad;
  for (const Example& example : examples()) {
    SCOPED_TRACE(example.table);
    const auto encoder = build(example.table);
    encoder->eval();
    const torch::Tensor expected = encoder->forward(example.input);
    {
      const AutocastGuard autocast(torch::kCPU, true);
      EXPECT_TRUE(torch::allclose(encoder->forward(example.input).to(torch::kFloat), expected, 0.05,
                                  0.05 * expected.abs().max().item<double>()));
    }
    encoder->to(torch::kBFloat16);
    const bool real = example.input.is_floating_point();
    const torch::Tensor half =
        encoder->forward(real ? example.input.to(torch::kBFloat16) : example.input);
    EXPECT_EQ(half.scalar_type(), torch::kBFloat16);
    EXPECT_TRUE(torch::allclose(half.to(torch::kFloat), expected, 0.1,
                                0.1 * expected.abs().max().item<double>()));
  }
}

TEST(Encoders, RefuseRecipesThatMakeNoSense) {
  const auto fails = [](const std::string& table, const std::string& says) {
    try {
      build(table);
      ADD_FAILURE() << table;
    } catch (const RecipeError& error) {
      EXPECT_NE(std::string(error.what()).find(says), std::string::npos) << error.what();
    }
  };
  fails("type = 'resnet101'", "did you mean \"resnet18\"?");
  fails("type = 'resnet34', stages = 5", "and at most 4, got 5");
  fails("type = 'resnet50', stages = 0", "encoder.stages: expected an integer of at least 1");
  fails("type = 'resnet50', depth = 34", "encoder.depth: unknown key");
  fails("type = 'vit_s', heads = 5", "encoder.heads: expected a divisor of width (384), got 5");
  fails("type = 'vit_s', image_size = 100",
        "encoder.image_size: expected multiples of patch (16), got 100");
  fails("type = 'vit_s', image_size = [32, 32, 32]",
        "expected a number or height and width, got 3");
  fails("type = 'vit_s', image_size = [32, 40]", "expected multiples of patch (16), got 40");
  fails("type = 'vit_s', image_size = 0", "encoder.image_size: expected an integer of at least 1");
  fails("type = 'vit_s', depth = 0", "encoder.depth: expected an integer of at least 1");
  fails("type = 'vit_s', tokens = 1", "encoder.tokens: expected");
  fails("type = 'transformer'", "encoder.in_features");
  fails("type = 'transformer', in_features = 3, heads = 3", "expected a divisor of width (128)");
  fails("type = 'transformer', in_features = 3, positions = 'none'", "encoder.positions");
  fails("type = 'transformer', in_features = 3, dropout = 2",
        "encoder.dropout: expected a number below 1, got 2");
  fails("type = 'transformer', in_features = 3, max_length = 0", "encoder.max_length");
  fails("type = 'cnn1d', in_features = 3, tokens = 'all'", "encoder.tokens: expected");
  fails("type = 'embedding', token = true", "did you mean tokens?");
}

TEST(Cnn, AveragesItsLastFeatureMap) {
  const torch::NoGradGuard no_grad;
  Cnn encoder(1, {4, 6});
  encoder.eval();
  torch::manual_seed(1);
  const torch::Tensor input = torch::randn({2, 1, 9, 7});
  const auto p = encoder.named_parameters();
  torch::Tensor x = input;
  for (const char* number : {"1", "2"}) {
    x = torch::conv2d(x, p[std::string("conv") + number + ".weight"], {}, 2, 1);
    x = torch::relu(x / std::sqrt(1 + 1e-5));
  }
  EXPECT_TRUE(torch::allclose(encoder.forward(input), x.mean({2, 3}), 1e-5, 1e-6));
  EXPECT_EQ(encoder.feature_size(), 6);
}

TEST(SequenceCnn, RunsOverTime) {
  const torch::NoGradGuard no_grad;
  const auto holder = std::make_shared<SequenceCnn>(3, std::vector<int64_t>{4, 2});
  SequenceCnn& encoder = *holder;
  initialise(encoder, 1);
  encoder.eval();
  EXPECT_EQ(encoder.feature_size(), 2);
  torch::manual_seed(1);
  const torch::Tensor input = torch::randn({2, 5, 3});
  const auto p = encoder.named_parameters();
  // Step by step in double precision: output t sees the inputs 2 t - 1 to 2 t + 1, zeros beyond.
  torch::Tensor x = input.to(torch::kDouble);
  for (const char* name : {"conv1.weight", "conv2.weight"}) {
    const torch::Tensor weight = p[name].to(torch::kDouble);
    std::vector<torch::Tensor> steps;
    for (int64_t t = 0; 2 * t < x.size(1); ++t) {
      torch::Tensor sum = torch::zeros({2, weight.size(0)}, torch::kDouble);
      for (int64_t k = 0; k < 3; ++k) {
        const int64_t at = 2 * t + k - 1;
        if (at >= 0 && at < x.size(1)) {
          sum += torch::matmul(x.select(1, at), weight.select(2, k).t());
        }
      }
      steps.push_back(torch::relu(sum / std::sqrt(1 + 1e-5)));
    }
    x = torch::stack(steps, 1);
  }
  EXPECT_TRUE(torch::allclose(encoder.forward(input).to(torch::kDouble), x.mean(1), 1e-5, 1e-6));
  EXPECT_THROW(encoder.forward(torch::randn({2, 5, 4})), c10::Error);
  EXPECT_THROW(encoder.forward(torch::randn({2, 3})), c10::Error);
}

TEST(SequenceCnn, GivesTheStepsWhoseMeanItTakes) {
  const auto mean = build("type = 'cnn1d', in_features = 3, channels = [4, 2]");
  const auto steps = build("type = 'cnn1d', in_features = 3, channels = [4, 2], tokens = true");
  const torch::Tensor input = torch::randn({2, 9, 3});
  const torch::Tensor tokens = steps->forward(input);
  EXPECT_EQ(mean->feature_kind(), FeatureKind::kVector);
  EXPECT_EQ(steps->feature_kind(), FeatureKind::kTokens);
  ASSERT_EQ(tokens.sizes(), (std::vector<int64_t>{2, 3, 2}));
  EXPECT_TRUE(torch::allclose(tokens.mean(1), mean->forward(input), 1e-5, 1e-6));
}

TEST(SequenceCnn, IsInitialisedAsImagesAre) {
  const auto encoder = std::make_shared<SequenceCnn>(32, std::vector<int64_t>{128});
  const auto again = std::make_shared<SequenceCnn>(32, std::vector<int64_t>{128});
  initialise(*encoder, 3);
  initialise(*again, 3);
  const torch::Tensor weight = encoder->named_parameters()["conv1.weight"];
  EXPECT_TRUE(torch::equal(weight, again->named_parameters()["conv1.weight"]));
  EXPECT_NEAR(weight.std().item<double>(), std::sqrt(2.0 / (128 * 3)), 0.002);
}

TEST(EmbeddingEncoder, AveragesWhatIsNoPadding) {
  const auto holder = std::make_shared<EmbeddingEncoder>(5, 3, 0);
  EmbeddingEncoder& encoder = *holder;
  initialise(encoder, 1);
  EXPECT_EQ(encoder.feature_size(), 3);
  const torch::Tensor weight = encoder.named_parameters()["embedding.weight"];
  const torch::Tensor features =
      encoder.forward(torch::tensor({4, 1, 1, 0, 0, 0, 0, 0}, torch::kLong).view({2, 4}));
  EXPECT_TRUE(torch::allclose(features[0], (weight[4] + 2 * weight[1]) / 3));
  EXPECT_TRUE(torch::equal(features[1], torch::zeros({3})));
  features.sum().backward();
  EXPECT_TRUE(torch::allclose(weight.grad().select(1, 0),
                              torch::tensor({0.0F, 2.0F / 3, 0.0F, 0.0F, 1.0F / 3})));
  EXPECT_THROW(encoder.forward(torch::tensor({{5}}, torch::kLong)), c10::Error);
  EXPECT_THROW(encoder.forward(torch::zeros({1, 4})), c10::Error);
}

TEST(EmbeddingEncoder, GivesTheTokensWithoutThePadding) {
  const auto encoder = build("type = 'embedding', vocab_size = 5, size = 3, tokens = true");
  EXPECT_EQ(encoder->feature_kind(), FeatureKind::kTokens);
  EXPECT_EQ(encoder->feature_size(), 3);
  const torch::Tensor weight = encoder->named_parameters()["embedding.weight"];
  const torch::Tensor tokens = encoder->forward(torch::tensor({{4, 1, 0}}, torch::kLong));
  EXPECT_TRUE(torch::equal(tokens[0], torch::stack({weight[4], weight[1], torch::zeros({3})})));
}

TEST(Mlp, IsLinearReluLinear) {
  const torch::NoGradGuard no_grad;
  Mlp encoder({6, 5, 4});
  const auto p = encoder.named_parameters();
  const torch::Tensor input = torch::randn({3, 2, 3});
  const torch::Tensor expected =
      torch::relu(input.view({3, 6}).mm(p["fc1.weight"].t()) + p["fc1.bias"])
          .mm(p["fc2.weight"].t()) +
      p["fc2.bias"];
  EXPECT_TRUE(torch::allclose(encoder.forward(input), expected, 1e-5, 1e-6));
  EXPECT_THROW(encoder.forward(torch::randn({3, 5})), c10::Error);
}

TEST(Cnn, GivesMapsWhoseMeanIsItsVector) {
  const auto vectors = std::make_shared<Cnn>(2, std::vector<int64_t>{3, 5});
  const auto maps = std::make_shared<Cnn>(2, std::vector<int64_t>{3, 5}, true);
  initialise(*vectors, 4);
  initialise(*maps, 4);
  EXPECT_EQ(vectors->feature_kind(), FeatureKind::kVector);
  EXPECT_EQ(maps->feature_kind(), FeatureKind::kMap);
  vectors->eval();
  maps->eval();
  torch::manual_seed(2);
  const torch::Tensor images = torch::randn({2, 2, 12, 9});
  const torch::Tensor map = maps->forward(images);
  EXPECT_EQ(map.sizes(), (std::vector<int64_t>{2, 5, 3, 3}));
  EXPECT_TRUE(torch::allclose(map.mean({2, 3}), vectors->forward(images), 1e-5, 1e-6));
  const torch::Tensor clip = torch::stack({images, images.flip(3)}, 1);
  EXPECT_TRUE(
      torch::allclose(maps->forward(clip), (map + maps->forward(images.flip(3))) / 2, 1e-5, 1e-6));
}

}  // namespace
}  // namespace unbraid
