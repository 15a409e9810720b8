// Files that go between Unbraid and PyTorch.
#include <cstdlib>
#include <map>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>
#include <torch/csrc/jit/serialization/import.h>

#include "temporary_folder.h"
#include "unbraid/core/error.h"
#include "unbraid/models/encoders/embedding.h"
#include "unbraid/models/encoders/resnet.h"
#include "unbraid/models/encoders/torchscript.h"
#include "unbraid/models/fusions/concat.h"
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

TEST_F(PythonTorch, ComputesWhatTheModelComputes) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(11);
  MultimodalModel model;
  model->add_encoder("audio",
                     std::make_shared<ResNet>(ResNetOptions{.in_channels = 1, .width = 8}));
  model->add_encoder("text", std::make_shared<EmbeddingEncoder>(30, 6, 0));
  torch::jit::Module doubling("Doubling");
  doubling.register_attribute("training", c10::BoolType::get(), true);
  doubling.register_parameter("w", torch::randn({5, 4}).set_requires_grad(true), false);
  doubling.define("def forward(self, x: Tensor) -> Tensor:\n  return torch.linear(x, self.w)\n");
  doubling.save((folder_ / "doubling.pt").string());
  model->add_encoder("extra",
                     std::make_shared<TorchScriptEncoder>((folder_ / "doubling.pt").string(), 5));
  model->set_fusion(
      std::make_shared<ConcatFusion>(FusionShape{{"audio", "text", "extra"}, {64, 6, 5}, 3}));
  for (auto& buffer : model->named_buffers()) {
    if (buffer.value().is_floating_point()) {
      buffer.value().uniform_(0.5, 1.5);  // as training leaves them
    }
  }
  model->eval();
  const std::map<std::string, torch::Tensor> inputs = {{"audio", torch::randn({2, 1, 40, 33})},
                                                       {"text", torch::randint(0, 30, {2, 7})},
                                                       {"extra", torch::randn({2, 4})}};
  for (const auto& [name, input] : inputs) {
    save_value((folder_ / (name + ".pt")).string(), input);
  }
  to_torchscript(*model).save((folder_ / "model.pt").string());
  ASSERT_EQ(std::system(fmt::format("/usr/bin/python3 {}/tests/models/run_torchscript.py {} {} "
                                    "audio text extra",
                                    UNBRAID_SOURCE_DIR, (folder_ / "model.pt").string(),
                                    folder_.path().string())
                            .c_str()),
            0);
  const std::vector<std::vector<std::string>> subsets = {{"audio"},
                                                         {"text"},
                                                         {"extra"},
                                                         {"audio", "text"},
                                                         {"audio", "extra"},
                                                         {"text", "extra"},
                                                         {"audio", "text", "extra"}};
  for (const auto& subset : subsets) {
    ModalityTensors present(3);
    for (const std::string& name : subset) {
      present[name == "audio" ? 0 : name == "text" ? 1 : 2] = inputs.at(name);
    }
    const torch::jit::Module output =
        torch::jit::load((folder_ / fmt::format("out_{}.pt", fmt::join(subset, "_"))).string());
    EXPECT_LT(
        (output.attr("value").toTensor() - model->forward(present)).abs().max().item<double>(),
        1e-5)
        << fmt::format("{}", fmt::join(subset, ", "));
  }
}

}  // namespace
}  // namespace unbraid
