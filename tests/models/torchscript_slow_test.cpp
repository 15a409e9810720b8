// Files that go between Unbraid and PyTorch.
#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>
#include <torch/csrc/jit/serialization/import.h>

#include "temporary_folder.h"
#include "unbraid/core/error.h"
#include "unbraid/models/encoders/cnn.h"
#include "unbraid/models/encoders/embedding.h"
#include "unbraid/models/encoders/resnet.h"
#include "unbraid/models/encoders/torchscript.h"
#include "unbraid/models/encoders/transformer.h"
#include "unbraid/models/encoders/vision_transformer.h"
#include "unbraid/models/fusions/fusion.h"
#include "unbraid/models/torchscript_export.h"

namespace unbraid {
namespace {

using testing::TemporaryFolder;

class PythonTorch : public ::testing::Test {
 protected:
  void SetUp() override {
    if (std::system("/usr/bin/python3 -c 'import torch' >/dev/null 2>&1") != 0) {
      GTEST_SKIP() << "Python has no torch (Debian: python3-torch)";
    }
  }

  TemporaryFolder folder_;
};

TEST_F(PythonTorch, WritesModulesThatAreEncoders) {
  const std::string folder = folder_.path().string();
  ASSERT_EQ(
      std::system(
          ("/usr/bin/python3 " UNBRAID_SOURCE_DIR "/tests/models/write_torchscript.py " + folder)
              .c_str()),
      0);
  const torch::Tensor x = torch::linspace(-1, 1, 2 * 3 * 5 * 5).view({2, 3, 5, 5});
  const torch::Tensor expected =
      torch::jit::load(folder + "/output.pt").attr("value").toTensor().detach();
  for (const std::string name : {"/scripted.pt", "/traced.pt"}) {
    TorchScriptEncoder encoder(folder + name);
    EXPECT_TRUE(encoder.named_parameters().contains("layers.0.weight")) << name;
    EXPECT_FALSE(encoder.named_parameters()["frozen"].requires_grad()) << name;
    if (name == "/scripted.pt") {
      // Dropout and BatchNorm are those of training, and the statistics move.
      EXPECT_FALSE(torch::equal(encoder.forward(x), encoder.forward(x)));
      EXPECT_EQ(encoder.named_buffers()["layers.1.num_batches_tracked"].item<int64_t>(), 2);
      const torch::NoGradGuard no_grad;
      encoder.named_buffers()["layers.1.running_mean"].zero_();
      encoder.named_buffers()["layers.1.running_var"].fill_(1.0);
    }
    encoder.eval();
    EXPECT_TRUE(torch::allclose(encoder.forward(x), expected, 1e-5, 1e-6)) << name;
  }
  EXPECT_THROW(TorchScriptEncoder(folder + "/frozen.pt"), RecipeError);
  EXPECT_THROW(TorchScriptEncoder(folder + "/state_dict.pt"), RecipeError);
}

void save_value(const std::string& file, const torch::Tensor& value) {
  torch::jit::Module module("Value");
  module.register_parameter("value", value, false);
  module.save(file);
}

struct Modality {
  std::string name;
  std::shared_ptr<Encoder> encoder;
  torch::Tensor input;
};

MultimodalModel model_of(const std::vector<Modality>& modalities, const std::string& fusion,
                         const std::vector<int64_t>& map) {
  MultimodalModel model;
  FusionShape shape{{}, {}, 3, {}, map};
  for (const Modality& modality : modalities) {
    model->add_encoder(modality.name, modality.encoder);
    shape.modalities.push_back(modality.name);
    shape.feature_sizes.push_back(modality.encoder->feature_size());
    shape.feature_kinds.push_back(modality.encoder->feature_kind());
  }
  Value table = Value::table();
  std::get<Value::TablePointer>(table.data)->emplace_back("type", Value{fusion, ""});
  Options options(table);
  model->set_fusion(read_fusion(options)(shape));
  for (auto& parameter : model->named_parameters()) {
    parameter.value().add_(0.1 * torch::randn_like(parameter.value()));
  }
  for (auto& buffer : model->named_buffers()) {
    if (buffer.value().is_floating_point()) {
      buffer.value().uniform_(0.5, 1.5);  // as training leaves them
    }
  }
  model->eval();
  return model;
}

TEST_F(PythonTorch, ComputesWhatTheModelsCompute) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(11);
  torch::jit::Module doubling("Doubling");
  doubling.register_attribute("training", c10::BoolType::get(), true);
  doubling.register_parameter("w", torch::randn({5, 4}).set_requires_grad(true), false);
  doubling.define("def forward(self, x: Tensor) -> Tensor:\n  return torch.linear(x, self.w)\n");
  doubling.save((folder_ / "doubling.pt").string());

  const TransformerBlockOptions block{.width = 12, .heads = 3, .dropout = 0.1};
  const Modality resnet{"audio",
                        std::make_shared<ResNet>(ResNetOptions{.in_channels = 1, .width = 8}),
                        torch::randn({2, 1, 40, 33})};
  const Modality text{"text", std::make_shared<EmbeddingEncoder>(30, 6, 0),
                      torch::randint(0, 30, {2, 7})};
  const Modality extra{"extra",
                       std::make_shared<TorchScriptEncoder>((folder_ / "doubling.pt").string(), 5),
                       torch::randn({2, 4})};
  const Modality image{"image",
                       std::make_shared<VisionTransformer>(VisionTransformerOptions{
                           .image_size = {8, 8}, .patch = 4, .depth = 2, .block = block}),
                       torch::randn({2, 3, 8, 8})};
  const Modality sequence{"sequence",
                          std::make_shared<TransformerEncoder>(TransformerEncoderOptions{
                              .in_features = 4, .block = block, .tokens = true}),
                          torch::randn({2, 7, 4})};
  const Modality pooled{"pooled",
                        std::make_shared<TransformerEncoder>(TransformerEncoderOptions{
                            .in_features = 4, .block = block, .learned_positions = true}),
                        torch::randn({2, 7, 4})};
  const Modality color{"color", std::make_shared<Cnn>(3, std::vector<int64_t>{4, 6}, true),
                       torch::randn({2, 3, 16, 16})};
  const Modality depth{
      "depth", std::make_shared<ResNet>(ResNetOptions{.in_channels = 1, .width = 4, .stages = 2}),
      torch::randn({2, 1, 32, 32})};
  const Modality words{"words", std::make_shared<EmbeddingEncoder>(30, 6, 0, true),
                       torch::randint(0, 30, {2, 7})};

  struct Case {
    std::string fusion;
    std::vector<Modality> modalities;
    std::vector<int64_t> map = {};
  };
  const std::vector<Case> cases = {
      {"concat", {resnet, text, extra}},
      {"sum", {resnet, text}},
      {"film", {image, pooled}},
      {"gated", {text, pooled}},
      {"low-rank", {image, pooled}},
      {"central", {image, text}},
      {"mmtm", {color, depth}},
      {"transformer", {sequence, words, depth}},
      {"decoder", {color, depth}, {16, 16}},
  };
  const auto folder_of = [&](const Case& one) { return folder_ / one.fusion; };
  std::vector<MultimodalModel> models;
  std::string command = "/usr/bin/python3 " UNBRAID_SOURCE_DIR "/tests/models/run_torchscript.py";
  for (const Case& one : cases) {  // all before any is exported: they share encoders
    models.push_back(model_of(one.modalities, one.fusion, one.map));
  }
  for (size_t i = 0; i < cases.size(); ++i) {
    const Case& one = cases[i];
    std::filesystem::create_directory(folder_of(one));
    command += " " + folder_of(one).string();
    for (const Modality& modality : one.modalities) {
      save_value((folder_of(one) / ("in_" + modality.name + ".pt")).string(), modality.input);
    }
    to_torchscript(*models[i]).save((folder_of(one) / "model.pt").string());
  }
  ASSERT_EQ(std::system(command.c_str()), 0);
  for (size_t i = 0; i < cases.size(); ++i) {
    const auto& modalities = cases[i].modalities;
    for (size_t bits = 1; bits < size_t{1} << modalities.size(); ++bits) {
      ModalityTensors present(modalities.size());
      std::vector<std::string> names;
      for (size_t m = 0; m < modalities.size(); ++m) {
        if ((bits >> m & 1) != 0) {
          present[m] = modalities[m].input;
          names.push_back(modalities[m].name);
        }
      }
      std::sort(names.begin(), names.end());
      const torch::Tensor expected = models[i]->forward(present);
      const std::string name = fmt::format("out_{}.pt", fmt::join(names, "_"));
      const torch::Tensor output =
          torch::jit::load((folder_of(cases[i]) / name).string()).attr("value").toTensor();
      EXPECT_LT((output - expected).abs().max().item<double>(),
                1e-5 * std::max(1.0, expected.abs().max().item<double>()))
          << cases[i].fusion << " " << name;
    }
  }
}

}  // namespace
}  // namespace unbraid
