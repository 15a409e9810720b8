// `unbraid export`, and encoders of the type "torchscript", as a user meets them.
#include <map>

#include <torch/csrc/jit/serialization/import.h>

#include "apps/command_line.h"
#include "unbraid/core/safetensors.h"
#include "unbraid/core/torch.h"

namespace unbraid {
namespace {

using testing::Outcome;
using testing::read_text;
using testing::unbraid_program;
using testing::write_npy;
using testing::write_text;

class Export : public testing::CommandLine {
 protected:
  [[nodiscard]] std::string file(const std::string& name) const {
    return (folder_ / name).string();
  }
  [[nodiscard]] Outcome export_run(const std::string& out, const std::string& more = "") const {
    return unbraid_program(fmt::format("export {} -o {} {}", file("run"), file(out), more));
  }
  /// An encoder of 4 inputs and 8 features with weights that are easily told.
  void write_encoder(const std::string& name, double weight = 0.25,
                     const std::string& result = "torch.relu(torch.linear(x, self.w))") const {
    torch::manual_seed(2);
    torch::jit::Module module("Net");
    module.register_attribute("training", c10::BoolType::get(), true);
    module.register_parameter("w", (weight * torch::randn({8, 4})).set_requires_grad(true), false);
    module.register_buffer("seen", torch::zeros({}, torch::kLong));
    module.define(
        "def forward(self, x: Tensor) -> Tensor:\n"
        "  if self.training:\n"
        "    self.seen = self.seen + 1\n"
        "  return " +
        result + "\n");
    module.save(file(name));
  }
  void use_script(const std::string& encoder) const {
    std::string text = read_text(recipe());
    const std::string own = "{ type = \"mlp\", layers = [4, 8] }";
    text.replace(text.find(own), own.size(), encoder);
    write_text(recipe(), text);
  }
};

TEST_F(Export, WeightsHaveTheNamesOfTheDesign) {
  ASSERT_EQ(train("").code, 0);
  const Outcome outcome = export_run("model.safetensors");
  ASSERT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_NE(outcome.output.find("the model as weights, 6 tensors of 131 values"), std::string::npos)
      << outcome.output;
  const auto best = read_safetensors(file("run/checkpoints/best/model.safetensors"));
  const auto whole = read_safetensors(file("model.safetensors"));
  ASSERT_EQ(whole.tensors.size(), best.tensors.size());
  for (size_t i = 0; i < whole.tensors.size(); ++i) {
    EXPECT_EQ(whole.tensors[i].first, best.tensors[i].first);
    EXPECT_TRUE(torch::equal(whole.tensors[i].second, best.tensors[i].second));
  }
  ASSERT_EQ(export_run("left.bin", "--encoder left --format weights").code, 0);
  std::vector<std::string> names;
  for (const auto& [name, tensor] : read_safetensors(file("left.bin")).tensors) {
    names.push_back(name);
  }
  EXPECT_EQ(names, (std::vector<std::string>{"fc1.weight", "fc1.bias"}));
}

TEST_F(Export, SaysHowAModelIsCalledAndWhatItsOutputsMean) {
  std::string text = read_text(recipe());
  const std::string task = "type = \"classification\"\nclasses = 3\n";
  text.replace(text.find(task), task.size(), "type = \"regression\"\nmean = 50.0\nstd = 20.0\n");
  for (size_t at = 0; (at = text.find("modalities.left")) != std::string::npos;) {
    text.replace(at, 15, "modalities.torch");
  }
  write_text(recipe(), text);
  std::string manifest = read_text(folder_ / "manifest.csv");
  manifest.replace(manifest.find("left"), 4, "torch");
  write_text(folder_ / "manifest.csv", manifest);
  ASSERT_EQ(train("--set train.epochs=1").code, 0);
  const Outcome outcome = export_run("model.pt");
  ASSERT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_NE(outcome.output.find("forward(modality_torch, right)\noutputs are normalised: times "
                                "[20] plus [50] they are in the labels' units\n"),
            std::string::npos)
      << outcome.output;
  EXPECT_EQ(export_run("weights.safetensors").output.find("forward("), std::string::npos);
}

TEST_F(Export, RefusesWhatIsWrong) {
  ASSERT_EQ(train("--set train.epochs=1").code, 0);
  expect_error(export_run("model.onnx"), 2, "ends in .safetensors (weights) or .pt (TorchScript)");
  expect_error(export_run("model.pt", "--format onnx"), 2, "--format");
  expect_error(export_run("model.pt", "--encoder smell"), 2, "left, right");
  expect_error(export_run("no/where/model.pt"), 5, "no/where");
  write_text(file("mine.pt"), "PK\x03\x04 but no TorchScript");
  write_text(file("mine.safetensors"), "no weights");
  expect_error(export_run("mine.pt"), 2, "is there already and is not a TorchScript file");
  expect_error(export_run("mine.safetensors"), 2, "is not a safetensors file");
  EXPECT_EQ(read_text(file("mine.safetensors")), "no weights");
  expect_error(export_run("run/checkpoints/best/model.safetensors"), 2, "checkpoints");
  ASSERT_EQ(export_run("model.pt").code, 0);
  EXPECT_EQ(export_run("model.pt").code, 0);  // replaces an export
  EXPECT_EQ(export_run("model.pt", "--format weights").code, 2);
}

TEST_F(Export, ATorchScriptEncoderTrainsLikeAnyOther) {
  write_encoder("net.pt");
  use_script(R"({ type = "torchscript", file = "net.pt", trust = true })");
  const Outcome outcome = train("--set train.epochs=8 --set optimizer.lr=0.3");
  ASSERT_EQ(outcome.code, 0) << outcome.output;
  const std::string resolved = read_text(folder_ / "run/recipe.toml");
  for (const std::string& part :
       {fmt::format("file = \"{}\"", file("net.pt")), std::string("feature_size = 8"),
        std::string("features = \"vector\""), std::string("trust = true")}) {
    EXPECT_NE(resolved.find(part), std::string::npos) << part << "\n" << resolved;
  }
  const auto first = torch::jit::load(file("net.pt")).attr("w").toTensor();
  std::map<std::string, torch::Tensor> trained;
  for (const auto& [name, tensor] :
       read_safetensors(file("run/checkpoints/last/model.safetensors")).tensors) {
    trained[name] = tensor;
  }
  ASSERT_TRUE(trained.contains("encoders.left.w"));
  EXPECT_FALSE(torch::allclose(trained["encoders.left.w"], first));
  EXPECT_EQ(trained["encoders.left.seen"].item<int64_t>(), 8 * 3);

  // Continued from the middle, with the user's own recipe, it ends with the same weights.
  const std::string more = "--set train.epochs=8 --set optimizer.lr=0.3";
  ASSERT_EQ(train(more, "again").code, 0);
  EXPECT_EQ(read_text(folder_ / "again/checkpoints/last/model.safetensors"),
            read_text(folder_ / "run/checkpoints/last/model.safetensors"));
  EXPECT_EQ(train(more + " --resume").code, 0);

  // Exported, the encoder is the file's code with the weights of the run.
  ASSERT_EQ(export_run("left.pt", "--encoder left").code, 0);
  torch::jit::Module left = torch::jit::load(file("left.pt"));
  std::map<std::string, torch::Tensor> best;
  for (const auto& [name, tensor] :
       read_safetensors(file("run/checkpoints/best/model.safetensors")).tensors) {
    best[name] = tensor;
  }
  EXPECT_TRUE(torch::equal(left.attr("w").toTensor(), best["encoders.left.w"]));
  EXPECT_EQ(left.forward({torch::randn({3, 4})}).toTensor().sizes(), (std::vector<int64_t>{3, 8}));
  ASSERT_EQ(export_run("model.pt").code, 0);

  // The run needs the file for its code, and no other one.
  ASSERT_EQ(unbraid_program("eval " + file("run")).code, 0);
  std::filesystem::rename(file("net.pt"), file("first.pt"));
  write_encoder("net.pt", 0.5);
  expect_error(unbraid_program("eval " + file("run")), 3, "expected the file of the checksum ");
  std::filesystem::rename(file("first.pt"), file("net.pt"));
  ASSERT_EQ(unbraid_program("eval " + file("run")).code, 0);
  std::filesystem::rename(file("net.pt"), file("moved.pt"));
  expect_error(unbraid_program("eval " + file("run")), 3, "checkpoints do not");
}

TEST_F(Export, ATorchScriptEncoderThatDoesNotFitIsThree) {
  write_encoder("net.pt");
  use_script(R"({ type = "torchscript", file = "net.pt" })");
  expect_error(train(""), 3, "modalities.left.encoder.trust: expected true");
  const std::string trust = "--set modalities.left.encoder.trust=true";
  expect_error(train(trust + " --set modalities.left.encoder.file=gone.pt"), 3, "gone.pt");
  expect_error(train(trust + " --set modalities.left.encoder.feature_size=7"), 3,
               "expected features of 7 numbers (vector)");
  expect_error(train(trust + " --set modalities.left.encoder.feature_size=8"
                             " --set modalities.left.encoder.features=tokens"),
               3, "this fusion takes vectors");
  expect_error(train(trust + " --set modalities.left.encoder.features=tokens"), 3,
               "encoder.features: expected feature_size beside it");
  write_encoder("one.pt", 0.25, "torch.relu(torch.linear(x, self.w))[:1]");
  expect_error(train(trust + " --set modalities.left.encoder.file=" + file("one.pt")), 3,
               "modalities.left.encoder: does not take samples of the shape [4]");
  write_encoder("cut.pt", 0.25, "torch.relu(torch.linear(x, self.w)).detach()");
  const std::string cut = trust + " --set modalities.left.encoder.file=" + file("cut.pt");
  expect_error(train(cut), 3,
               "modalities.left.encoder: expected a feature from which its parameters "
               "learn, got one that is cut off from them");
  EXPECT_EQ(train(cut + " --set 'train.freeze=[\"encoders.left.*\"]'", "frozen").code, 0);
  write_text(folder_ / "empty.pt", "");
  expect_error(train(trust + " --set modalities.left.encoder.file=" + file("empty.pt")), 3,
               "empty.pt: expected TorchScript, as torch.jit.save writes it: ");
  write_npy(folder_ / "table.npy", {60, 5}, std::vector<float>(300));
  expect_error(train(trust), 3, "modalities.left.encoder: does not take samples of the shape [5]");
}

}  // namespace
}  // namespace unbraid
