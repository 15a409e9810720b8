#include "unbraid/models/encoders/torchscript.h"

#include <gtest/gtest.h>

#include "temporary_folder.h"
#include "unbraid/core/autocast.h"
#include "unbraid/core/error.h"
#include "unbraid/models/fusions/concat.h"
#include "unbraid/models/initialisation.h"
#include "unbraid/models/multimodal_model.h"
#include "unbraid/routing/routed_backward.h"

namespace unbraid {
namespace {

using testing::TemporaryFolder;

/// A script module with the attributes that torch.jit.script gives every module.
torch::jit::Module script_module(const std::string& name) {
  torch::jit::Module module(name);
  module.register_attribute("training", c10::BoolType::get(), true);
  return module;
}

/// fc, ReLU and a BatchNorm that counts by assigning the count anew.
torch::jit::Module two_layers() {
  torch::manual_seed(3);
  torch::jit::Module fc = script_module("Linear");
  fc.register_parameter("weight", torch::randn({5, 4}).set_requires_grad(true), false);
  fc.register_parameter("bias", torch::randn({5}).set_requires_grad(true), false);
  torch::jit::Module bn = script_module("BatchNorm");
  bn.register_parameter("weight", torch::rand({5}).set_requires_grad(true), false);
  bn.register_parameter("bias", torch::rand({5}).set_requires_grad(true), false);
  bn.register_buffer("running_mean", torch::zeros({5}));
  bn.register_buffer("running_var", torch::ones({5}));
  bn.register_buffer("num_batches_tracked", torch::zeros({}, torch::kLong));
  bn.define(R"(
def forward(self, x: Tensor) -> Tensor:
  if self.training:
    self.num_batches_tracked = self.num_batches_tracked + 1
  return torch.batch_norm(x, self.weight, self.bias, self.running_mean, self.running_var,
                          self.training, 0.1, 1e-05, True)
)");
  torch::jit::Module module = script_module("Net");
  module.register_module("fc", fc);
  module.register_module("bn", bn);
  module.define(R"(
def forward(self, x: Tensor) -> Tensor:
  return self.bn.forward(torch.relu(torch.linear(x, self.fc.weight, self.fc.bias)))
)");
  return module;
}

/// A module of one parameter w [4, 4] with the methods of `source`.
torch::jit::Module with_source(const std::string& source) {
  torch::jit::Module module = script_module("Net");
  module.register_parameter("w", torch::eye(4).set_requires_grad(true), false);
  module.define(source);
  return module;
}

class TorchScript : public ::testing::Test {
 protected:
  std::string saved(const torch::jit::Module& module) {
    std::string path = (folder_ / "encoder.pt").string();
    module.save(path);
    return path;
  }
  static void expect_refused(const std::string& file, const std::string& part) {
    try {
      const TorchScriptEncoder encoder(file);
      ADD_FAILURE() << "expected an error with " << part;
    } catch (const RecipeError& error) {
      const std::string what = error.what();
      EXPECT_NE(what.find(file), std::string::npos) << what;
      EXPECT_NE(what.find(part), std::string::npos) << what;
      EXPECT_EQ(what.find('\n'), std::string::npos) << what;
    }
  }
  /// What forward says on `input`.
  static std::string refusal(TorchScriptEncoder& encoder, const torch::Tensor& input) {
    try {
      encoder.forward(input);
    } catch (const c10::Error& error) {
      return error.what_without_backtrace();
    }
    return "";
  }

  TemporaryFolder folder_;
};

TEST_F(TorchScript, ComputesWhatTheFileSaysUnderItsNames) {
  torch::jit::Module original = two_layers();
  const auto shared = std::make_shared<TorchScriptEncoder>(saved(original));
  TorchScriptEncoder& encoder = *shared;
  std::vector<std::string> names;
  for (const auto& parameter : encoder.named_parameters()) {
    names.push_back(parameter.key());
    EXPECT_TRUE(parameter.value().requires_grad());
  }
  EXPECT_EQ(names, (std::vector<std::string>{"fc.weight", "fc.bias", "bn.weight", "bn.bias"}));
  EXPECT_TRUE(encoder.named_buffers().contains("bn.num_batches_tracked"));
  // No seed draws anew what came with the file.
  initialise(encoder, 7);
  const torch::Tensor x = torch::randn({6, 4});
  EXPECT_TRUE(torch::equal(encoder.forward(x), original.forward({x}).toTensor()));
  encoder.eval();
  original.eval();
  EXPECT_TRUE(torch::allclose(encoder.forward(x), original.forward({x}).toTensor(), 1e-6, 1e-6));
  EXPECT_EQ(encoder.feature_size(), 5);
  EXPECT_EQ(encoder.feature_kind(), FeatureKind::kVector);
}

TEST_F(TorchScript, BuffersThatAreAssignedAnewStayRegistered) {
  TorchScriptEncoder encoder(saved(two_layers()));
  const torch::Tensor count = encoder.named_buffers()["bn.num_batches_tracked"];
  for (int i = 1; i <= 3; ++i) {
    encoder.forward(torch::randn({6, 4}));
    EXPECT_EQ(count.item<int64_t>(), i);
  }
  // Both ways: what is loaded into the registered tensor is what the script counts on from.
  {
    const torch::NoGradGuard no_grad;
    encoder.named_buffers()["bn.num_batches_tracked"].fill_(10);
  }
  encoder.forward(torch::randn({6, 4}));
  EXPECT_EQ(encoder.named_buffers()["bn.num_batches_tracked"].item<int64_t>(), 11);
  encoder.eval();
  encoder.forward(torch::randn({6, 4}));
  EXPECT_EQ(count.item<int64_t>(), 11);
}

/// Moves the registered tensors to `device` and back into training; the script computes there.
void expect_in_step(TorchScriptEncoder& encoder, torch::Device device, torch::Dtype dtype) {
  encoder.to(device, dtype);
  const auto options = torch::TensorOptions().device(device).dtype(dtype);
  const torch::Tensor x = torch::randn({6, 4}, options);
  torch::Tensor weight = encoder.named_parameters()["fc.weight"];
  EXPECT_EQ(weight.scalar_type(), dtype);
  const torch::Tensor before = encoder.forward(x);
  EXPECT_EQ(before.scalar_type(), dtype);
  before.square().sum().backward();
  ASSERT_TRUE(weight.grad().defined());
  EXPECT_GT(weight.grad().abs().sum().item<double>(), 0);
  const torch::NoGradGuard no_grad;
  weight.sub_(0.1 * weight.grad());
  EXPECT_FALSE(torch::allclose(encoder.forward(x), before));
}

TEST_F(TorchScript, ScriptAndRegisteredTensorsAreInStep) {
  TorchScriptEncoder encoder(saved(two_layers()));
  expect_in_step(encoder, torch::kCPU, torch::kDouble);
  TorchScriptEncoder again(saved(two_layers()));
  if (torch::cuda::is_available()) {
    expect_in_step(again, torch::kCUDA, torch::kFloat);
  }
}

TEST_F(TorchScript, OneTensorUnderTwoNamesIsTrainedOnce) {
  torch::jit::Module module = script_module("Tied");
  const torch::Tensor w = torch::randn({4, 4}).set_requires_grad(true);
  module.register_parameter("first", w, false);
  module.register_parameter("second", w, false);
  module.define(
      "def forward(self, x: Tensor) -> Tensor:\n"
      "  return torch.linear(torch.linear(x, self.first), self.second)\n");
  TorchScriptEncoder encoder(saved(module));
  ASSERT_EQ(encoder.parameters().size(), 1);
  encoder.to(torch::kDouble);
  const torch::Tensor x = torch::randn({2, 4}, torch::kDouble);
  const torch::Tensor t = encoder.parameters()[0].detach();
  EXPECT_TRUE(torch::allclose(encoder.forward(x), x.matmul(t.t()).matmul(t.t())));
}

TEST_F(TorchScript, FindsKindAndSizeFromItsOutput) {
  struct Case {
    std::string output;
    FeatureKind kind;
    int64_t size;
  };
  for (const Case& one :
       {Case{"torch.linear(x, self.w)", FeatureKind::kVector, 4},
        Case{"torch.linear(x, self.w).unsqueeze(1).expand([-1, 7, -1])", FeatureKind::kTokens, 4},
        Case{"torch.linear(x, self.w).view([-1, 1, 2, 2])", FeatureKind::kMap, 1}}) {
    const std::string file = saved(
        with_source("def forward(self, x: Tensor) -> Tensor:\n  return " + one.output + "\n"));
    TorchScriptEncoder encoder(file);
    EXPECT_EQ(encoder.feature_size(), 0);
    encoder.forward(torch::randn({2, 4}));
    EXPECT_EQ(encoder.feature_size(), one.size);
    EXPECT_EQ(encoder.feature_kind(), one.kind);
    TorchScriptEncoder wrong(file, 9);
    EXPECT_NE(refusal(wrong, torch::randn({2, 4})).find("expected features of 9 numbers (vector)"),
              std::string::npos);
  }
  TorchScriptEncoder scalar(
      saved(with_source("def forward(self, x: Tensor) -> Tensor:\n  return torch.sum(x)\n")));
  TorchScriptEncoder doubled(saved(with_source(
      "def forward(self, x: Tensor) -> Tensor:\n  return torch.linear(x, self.w).double()\n")));
  EXPECT_NE(refusal(doubled, torch::randn({2, 4})).find("features of float32, found float64"),
            std::string::npos);
  EXPECT_NE(refusal(scalar, torch::randn({2, 4})).find("expected features [B, d]"),
            std::string::npos);
}

TEST_F(TorchScript, AFailureInForwardIsOneLine) {
  TorchScriptEncoder encoder(saved(two_layers()));
  const std::string what = refusal(encoder, torch::randn({2, 3}));
  EXPECT_NE(what.find("encoder.pt"), std::string::npos) << what;
  EXPECT_NE(what.find("RuntimeError: "), std::string::npos) << what;
  EXPECT_EQ(what.find('\n'), std::string::npos) << what;
  TorchScriptEncoder raising(saved(with_source(
      "def forward(self, x: Tensor) -> Tensor:\n  assert x.dim() == 9, \"nine\"\n  return x\n")));
  EXPECT_NE(refusal(raising, torch::randn({2, 4})).find("nine"), std::string::npos);
}

TEST_F(TorchScript, RefusesWhatIsNoEncoder) {
  expect_refused((folder_ / "gone.pt").string(), "checkpoints do not");
  expect_refused(folder_.path().string(), "");
  const std::string text = (folder_ / "text.pt").string();
  testing::write_text(text, "not TorchScript");
  expect_refused(text, "expected TorchScript");
  testing::write_text(text, "");
  expect_refused(text, "expected TorchScript");
  const std::string whole = testing::read_text(saved(two_layers()));
  for (const size_t length : {size_t{10}, whole.size() / 2, whole.size() - 1}) {
    testing::write_text(text, whole.substr(0, length));
    expect_refused(text, "expected TorchScript");
  }
  torch::jit::Module frozen("Frozen");
  frozen.define("def forward(self, x: Tensor) -> Tensor:\n  return x\n");
  expect_refused(saved(frozen), "torch.jit.freeze");
  expect_refused(saved(script_module("Empty")), "with a forward, found none");
  expect_refused(saved(with_source("def forward(self, x: Tensor, n: int) -> Tensor:\n"
                                   "  return x + n + self.w\n")),
                 "expected a forward that takes one tensor and returns one, found forward(");
  expect_refused(saved(with_source("def forward(self, x: Tensor) -> Tuple[Tensor, Tensor]:\n"
                                   "  return (x, self.w)\n")),
                 "returns one");
  expect_refused(saved(with_source("def forward(self) -> Tensor:\n  return self.w\n")),
                 "takes one tensor");
  torch::jit::Module complex = script_module("Complex");
  complex.register_parameter("w", torch::zeros({2}, torch::kComplexFloat), false);
  complex.define("def forward(self, x: Tensor) -> Tensor:\n  return x\n");
  expect_refused(saved(complex), "w: expected a dense tensor");
  TorchScriptEncoder optional(
      saved(with_source("def forward(self, x: Tensor, n: int = 1) -> Tensor:\n"
                        "  return torch.linear(x, self.w) * n\n")));
  EXPECT_EQ(optional.forward(torch::randn({2, 4})).sizes(), (std::vector<int64_t>{2, 4}));
}

TEST_F(TorchScript, IsRoutedAndCast) {
  // DGL: the unimodal loss alone reaches the encoder, the multimodal one alone the fusion.
  auto encoder = std::make_shared<TorchScriptEncoder>(saved(two_layers()), 5);
  MultimodalModel model;
  model->add_encoder("a", encoder);
  auto fusion = std::make_shared<ConcatFusion>(FusionShape{{"a"}, {5}, 3});
  model->set_fusion(fusion);
  EXPECT_TRUE(model->named_parameters().contains("encoders.a.fc.weight"));
  const torch::Tensor x = torch::randn({6, 4});
  const torch::Tensor target = torch::arange(6).remainder(3);
  const auto loss = [&](const torch::Tensor& logits) {
    return torch::cross_entropy_loss(logits, target);
  };
  routed_backward(*model, {x}, loss, GradientRoute::dgl(2.0));
  const torch::Tensor routed = encoder->named_parameters()["fc.weight"].grad().clone();
  encoder->zero_grad();
  (2.0 * loss(model->forward({x}))).backward();
  EXPECT_TRUE(torch::allclose(routed, encoder->named_parameters()["fc.weight"].grad(), 1e-4, 1e-6));
  const AutocastGuard bf16(torch::kCPU, true);
  encoder->eval();
  EXPECT_TRUE(torch::allclose(
      encoder->forward(x).to(torch::kFloat),
      [&] {
        const AutocastGuard full(torch::kCPU, false);
        return encoder->forward(x);
      }(),
      0.05, 0.05));
}

TEST_F(TorchScript, TheRecipeHasToTrustIt) {
  const auto read = [&](const std::string& trust) {
    Value table = Value::table("r.toml:3");
    auto& rows = *std::get<Value::TablePointer>(table.data);
    rows.emplace_back("type", Value{std::string("torchscript"), "r.toml:3"});
    rows.emplace_back("file", Value{(folder_ / "encoder.pt").string(), "r.toml:3"});
    if (!trust.empty()) {
      rows.emplace_back("trust", Value{trust == "true", "r.toml:3"});
    }
    Options options(table, "modalities.a.encoder");
    const EncoderBuilder builder = read_encoder(options);
    options.finish();
    return builder;
  };
  for (const char* trust : {"", "false"}) {
    try {
      read(trust);
      ADD_FAILURE() << trust;
    } catch (const RecipeError& error) {
      EXPECT_EQ(std::string(error.what()).rfind("r.toml:3: modalities.a.encoder.trust: ", 0), 0)
          << error.what();
    }
  }
  const EncoderBuilder builder = read("true");
  try {
    builder();
    ADD_FAILURE();
  } catch (const RecipeError& error) {
    const std::string what = error.what();
    EXPECT_TRUE(what.starts_with("r.toml:3: modalities.a.encoder.file: ")) << what;
  }
  saved(two_layers());
  EXPECT_EQ(builder()->named_parameters().size(), 4);
}

}  // namespace
}  // namespace unbraid
