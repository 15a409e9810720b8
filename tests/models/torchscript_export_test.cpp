#include "unbraid/models/torchscript_export.h"

#include <algorithm>
#include <map>
#include <sstream>

#include <gtest/gtest.h>
#include <torch/csrc/jit/serialization/import.h>

#include "temporary_folder.h"
#include "unbraid/models/encoders/cnn.h"
#include "unbraid/models/encoders/embedding.h"
#include "unbraid/models/encoders/mlp.h"
#include "unbraid/models/encoders/resnet.h"
#include "unbraid/models/encoders/sequence_cnn.h"
#include "unbraid/models/encoders/torchscript.h"
#include "unbraid/models/encoders/transformer.h"
#include "unbraid/models/encoders/vision_transformer.h"
#include "unbraid/models/fusions/fusion.h"

namespace unbraid {
namespace {

using testing::TemporaryFolder;

/// Running statistics and weights as training leaves them, not those of a fresh model.
void disturb(torch::nn::Module& module) {
  for (auto& parameter : module.named_parameters()) {
    parameter.value().add_(0.1 * torch::randn_like(parameter.value()));
  }
  for (auto& buffer : module.named_buffers()) {
    if (buffer.value().is_floating_point()) {
      buffer.value().uniform_(0.5, 1.5);
    }
  }
}

torch::jit::Module saved_and_loaded(const torch::jit::Module& module) {
  std::stringstream file;
  module.save(file);
  return torch::jit::load(file);
}

double difference(const torch::Tensor& left, const torch::Tensor& right) {
  return (left - right).abs().max().item<double>();
}

std::shared_ptr<Fusion> fusion_of(const std::string& type, const FusionShape& shape) {
  Value table = Value::table();
  std::get<Value::TablePointer>(table.data)->emplace_back("type", Value{type, ""});
  Options options(table);
  return read_fusion(options)(shape);
}

torch::jit::Module doubling() {
  torch::jit::Module module("Doubling");
  module.register_attribute("training", c10::BoolType::get(), true);
  module.register_parameter("w", torch::randn({5, 4}).set_requires_grad(true), false);
  module.define(
      "def forward(self, x: Tensor) -> Tensor:\n"
      "  return 2 * torch.linear(x, self.w) * (2 if self.training else 1)\n");
  return module;
}

std::shared_ptr<Encoder> vision_transformer(bool tokens) {
  VisionTransformerOptions options{.image_size = {8, 12}, .patch = 4, .in_channels = 2, .depth = 2};
  options.block = {.width = 12, .heads = 3, .dropout = 0.5};
  options.tokens = tokens;
  return std::make_shared<VisionTransformer>(options);
}

std::shared_ptr<Encoder> sequence_transformer(bool learned_positions, bool tokens) {
  TransformerEncoderOptions options{.in_features = 4, .max_length = 9};
  options.block = {.width = 9, .heads = 3, .dropout = 0.5};  // an odd width: a sine without cosine
  options.learned_positions = learned_positions;
  options.tokens = tokens;
  return std::make_shared<TransformerEncoder>(options);
}

class Export : public ::testing::Test {
 protected:
  Export() { torch::manual_seed(11); }

  std::shared_ptr<TorchScriptEncoder> doubling_encoder() {
    doubling().save((folder_ / "doubling.pt").string());
    return std::make_shared<TorchScriptEncoder>((folder_ / "doubling.pt").string(), 5);
  }

  const torch::NoGradGuard no_grad_;
  TemporaryFolder folder_;
};

TEST_F(Export, EveryEncoderGivesWhatItGaveUnderTheSameNames) {
  struct Case {
    std::string name;
    std::shared_ptr<Encoder> encoder;
    std::vector<torch::Tensor> inputs;
  };
  const torch::Tensor ids = torch::randint(1, 30, {3, 6});
  const torch::Tensor padded = torch::cat({ids, torch::zeros({3, 2}, torch::kLong)}, 1);
  const std::vector<Case> cases = {
      {"cnn",
       std::make_shared<Cnn>(2, std::vector<int64_t>{4, 6}),
       {torch::randn({3, 2, 9, 12}), torch::randn({2, 3, 2, 9, 12})}},
      {"mlp", std::make_shared<Mlp>(std::vector<int64_t>{12, 7, 5}), {torch::randn({3, 3, 4})}},
      {"cnn1d",
       std::make_shared<SequenceCnn>(4, std::vector<int64_t>{5, 6}),
       {torch::randn({3, 9, 4}), torch::randn({2, 20, 4})}},
      {"embedding",
       std::make_shared<EmbeddingEncoder>(30, 6, 0),
       {padded, torch::zeros({1, 4}, torch::kLong)}},
      {"resnet18",
       std::make_shared<ResNet>(ResNetOptions{.in_channels = 3, .width = 8}),
       {torch::randn({2, 3, 40, 33}), torch::randn({1, 2, 3, 32, 32})}},
      {"resnet18, small stem",
       std::make_shared<ResNet>(ResNetOptions{.in_channels = 1, .width = 4, .small_stem = true}),
       {torch::randn({2, 1, 17, 16})}},
      {"resnet50",
       std::make_shared<ResNet>(ResNetOptions{.in_channels = 1, .width = 2, .depth = 50}),
       {torch::randn({1, 1, 33, 32})}},
      {"resnet18, stages",
       std::make_shared<ResNet>(ResNetOptions{.in_channels = 1, .width = 4, .stages = 2}),
       {torch::randn({2, 1, 33, 32}), torch::randn({1, 2, 1, 32, 32})}},
      {"cnn, maps",
       std::make_shared<Cnn>(2, std::vector<int64_t>{4, 6}, true),
       {torch::randn({3, 2, 9, 12}), torch::randn({2, 3, 2, 9, 12})}},
      {"cnn1d, tokens",
       std::make_shared<SequenceCnn>(4, std::vector<int64_t>{5, 6}, true),
       {torch::randn({3, 9, 4})}},
      {"embedding, tokens", std::make_shared<EmbeddingEncoder>(30, 6, 0, true), {padded}},
      {"vit_s",
       vision_transformer(false),
       {torch::randn({3, 2, 8, 12}), torch::randn({2, 3, 2, 8, 12})}},
      {"vit_s, tokens",
       vision_transformer(true),
       {torch::randn({3, 2, 8, 12}), torch::randn({2, 3, 2, 8, 12})}},
      {"transformer",
       sequence_transformer(false, false),
       {torch::randn({3, 7, 4}), torch::randn({2, 1, 4})}},
      {"transformer, learned positions, tokens",
       sequence_transformer(true, true),
       {torch::randn({3, 7, 4}), torch::randn({2, 9, 4})}},
      {"torchscript", doubling_encoder(), {torch::randn({3, 4})}},
  };
  for (const Case& one : cases) {
    disturb(*one.encoder);
    ASSERT_TRUE(has_torchscript(*one.encoder)) << one.name;
    torch::jit::Module script = saved_and_loaded(to_torchscript(*one.encoder));
    one.encoder->eval();
    for (const torch::Tensor& input : one.inputs) {
      EXPECT_LT(difference(script.forward({input}).toTensor(), one.encoder->forward(input)), 1e-5)
          << one.name << " " << input.sizes();
    }
    std::map<std::string, torch::Tensor> tensors;
    for (const auto& parameter : script.named_parameters()) {
      EXPECT_TRUE(parameter.value.requires_grad());
      tensors.emplace(parameter.name, parameter.value);
    }
    for (const auto& buffer : script.named_buffers()) {
      tensors.emplace(buffer.name, buffer.value);
    }
    for (const auto& parameter : one.encoder->named_parameters()) {
      ASSERT_TRUE(tensors.contains(parameter.key())) << one.name << " " << parameter.key();
      EXPECT_TRUE(torch::equal(tensors[parameter.key()], parameter.value()));
      tensors.erase(parameter.key());
    }
    for (const auto& buffer : one.encoder->named_buffers()) {
      ASSERT_TRUE(tensors.contains(buffer.key())) << one.name << " " << buffer.key();
      tensors.erase(buffer.key());
    }
    EXPECT_TRUE(tensors.empty()) << one.name << " " << tensors.begin()->first;
  }
}

TEST_F(Export, TrainsInTrainingMode) {
  // Where it is trained further, BatchNorm takes the statistics of the batch again.
  Cnn encoder(1, {4});
  disturb(encoder);
  torch::jit::Module script = to_torchscript(encoder);
  script.train();
  encoder.train();
  const torch::Tensor x = torch::randn({4, 1, 8, 8});
  EXPECT_LT(difference(script.forward({x}).toTensor(), encoder.forward(x)), 1e-5);
  EXPECT_LT(difference(script.attr("bn1").toModule().attr("running_mean").toTensor(),
                       encoder.named_buffers()["bn1.running_mean"]),
            1e-6);
}

TEST_F(Export, DropsOutInTrainingMode) {
  const auto encoder = sequence_transformer(false, false);
  torch::jit::Module script = to_torchscript(*encoder);
  const torch::Tensor x = torch::randn({4, 6, 4});
  const torch::Tensor still = script.forward({x}).toTensor();
  script.train();
  encoder->train();
  torch::manual_seed(3);
  const torch::Tensor dropped = script.forward({x}).toTensor();
  torch::manual_seed(3);
  EXPECT_LT(difference(dropped, encoder->forward(x)), 1e-5);
  EXPECT_GT(difference(dropped, still), 1e-2);
}

struct FusionCase {
  std::string type;
  size_t most_modalities;
  std::vector<FeatureKind> kinds;  // by modality
  std::vector<int64_t> map = {};   // of the output
};

struct Part {
  std::shared_ptr<Encoder> encoder;
  torch::Tensor input;
};

Part part_of(FeatureKind kind) {
  if (kind == FeatureKind::kVector) {
    return {std::make_shared<Mlp>(std::vector<int64_t>{4, 6}), torch::randn({2, 4})};
  }
  if (kind == FeatureKind::kTokens) {
    return {std::make_shared<EmbeddingEncoder>(9, 6, 0, true),
            torch::tensor({3, 4, 0, 0, 0, 5, 6, 7, 8, 0}).view({2, 5})};
  }
  return {std::make_shared<Cnn>(1, std::vector<int64_t>{6}, true), torch::randn({2, 1, 15, 16})};
}

class ExportOfFusion : public Export, public ::testing::WithParamInterface<FusionCase> {};

TEST_P(ExportOfFusion, GivesTheSameWithEveryCombinationOfModalities) {
  const FusionCase& one = GetParam();
  // Names that are no names of arguments, or that modules have for themselves.
  const std::vector<std::string> names = {"in", "3d", "training"};
  for (size_t modalities = 1; modalities <= one.most_modalities; ++modalities) {
    MultimodalModel model;
    FusionShape shape{{}, {}, 3, one.kinds, one.map};
    shape.feature_kinds.resize(modalities);
    std::vector<torch::Tensor> inputs;
    for (size_t m = 0; m < modalities; ++m) {
      const Part part = part_of(one.kinds[m]);
      model->add_encoder(names[m], part.encoder);
      shape.modalities.push_back(names[m]);
      shape.feature_sizes.push_back(6);
      inputs.push_back(part.input);
    }
    model->set_fusion(fusion_of(one.type, shape));
    disturb(*model);
    model->eval();
    torch::jit::Module script = saved_and_loaded(to_torchscript(*model));
    for (size_t bits = 1; bits < size_t{1} << modalities; ++bits) {
      ModalityTensors present(modalities);
      std::vector<c10::IValue> arguments(modalities);
      for (size_t m = 0; m < modalities; ++m) {
        if ((bits >> m & 1) != 0) {
          present[m] = inputs[m];
          arguments[m] = inputs[m];
        }
      }
      const torch::Tensor expected = model->forward(present);
      EXPECT_LT(difference(script.forward(arguments).toTensor(), expected),
                1e-5 * std::max(1.0, expected.abs().max().item<double>()))
          << modalities << " " << bits;
    }
    EXPECT_ANY_THROW(script.forward({}));  // no modality at all
    EXPECT_EQ(script.get_method("forward").function().getSchema().arguments().at(1).name(),
              "modality_in");
  }
}

constexpr auto kVector = FeatureKind::kVector;
constexpr auto kMap = FeatureKind::kMap;
INSTANTIATE_TEST_SUITE_P(
    Types, ExportOfFusion,
    ::testing::Values(FusionCase{"concat", 3, {kVector, kVector, kVector}},
                      FusionCase{"sum", 3, {kVector, kVector, kVector}},
                      FusionCase{"film", 2, {kVector, kVector}},
                      FusionCase{"gated", 2, {kVector, kVector}},
                      FusionCase{"low-rank", 3, {kVector, kVector, kVector}},
                      FusionCase{"central", 3, {kVector, kVector, kVector}},
                      FusionCase{"cosine", 3, {kVector, kVector, kVector}},
                      FusionCase{"shared-head", 3, {kVector, kVector, kVector}},
                      FusionCase{"mmtm", 3, {kMap, kMap, kMap}},
                      FusionCase{"transformer", 3, {kVector, FeatureKind::kTokens, kMap}},
                      FusionCase{"decoder", 3, {kMap, kMap, kMap}, {16, 24}}),
    [](const auto& test) {
      std::string name = test.param.type;
      std::replace(name.begin(), name.end(), '-', '_');
      return name;
    });

TEST_F(Export, TheCopyIsOfItsOwn) {
  MultimodalModel model;
  model->add_encoder("a", doubling_encoder());
  model->set_fusion(fusion_of("sum", {{"a"}, {5}, 3}));
  const torch::Tensor x = torch::randn({2, 4});
  model->eval();
  const torch::Tensor before = model->forward({x});
  torch::jit::Module script = to_torchscript(*model);
  for (torch::Tensor& parameter : model->parameters()) {
    parameter.zero_();
  }
  model->train();
  EXPECT_LT(difference(script.forward({x}).toTensor(), before), 1e-6);
}

struct Strange : Encoder {
  torch::Tensor forward(const torch::Tensor& input) override { return input; }
  [[nodiscard]] int64_t feature_size() const override { return 4; }
};

TEST_F(Export, SaysWhatHasNoForm) {
  MultimodalModel model;
  model->add_encoder("a", std::make_shared<Strange>());
  model->set_fusion(fusion_of("sum", {{"a"}, {4}, 3}));
  EXPECT_FALSE(has_torchscript(Strange()));
  EXPECT_FALSE(has_torchscript(torch::nn::LinearImpl(2, 2)));
  EXPECT_THROW(to_torchscript(*model), c10::Error);
  EXPECT_THROW(to_torchscript(Strange()), c10::Error);
}

}  // namespace
}  // namespace unbraid
