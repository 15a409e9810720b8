#include "unbraid/models/torchscript_export.h"

#include <cctype>
#include <memory>
#include <vector>

#include "unbraid/models/encoders/torchscript.h"
#include "unbraid/models/fusions/fusion.h"
#include "unbraid/models/script_source.h"

namespace unbraid {
namespace {

torch::Tensor copied(const torch::Tensor& tensor) {
  return tensor.detach().to(torch::kCPU, tensor.scalar_type(), /*non_blocking=*/false,
                            /*copy=*/true, torch::MemoryFormat::Contiguous);
}

/// The source of an encoder or a fusion, "" for any other module.
std::string source_of(const torch::nn::Module& part) {
  if (const auto* encoder = dynamic_cast<const Encoder*>(&part)) {
    return encoder->torchscript();
  }
  const auto* fusion = dynamic_cast<const Fusion*>(&part);
  return fusion == nullptr ? "" : fusion->torchscript();
}

torch::jit::Module copied(const torch::jit::Module& script) {
  const torch::NoGradGuard no_grad;
  torch::jit::Module copy = script.deepcopy();
  copy.to(torch::kCPU);
  copy.eval();
  auto original = script.parameters().begin();
  for (const torch::Tensor& parameter : copy.parameters()) {
    parameter.set_requires_grad((*original).requires_grad());
    ++original;
  }
  return copy;
}

/// The tensors of `module` and its submodules, with forward where there is a source.
torch::jit::Module converted(const torch::nn::Module& module,
                             const std::shared_ptr<torch::jit::CompilationUnit>& unit) {
  if (const auto* encoder = dynamic_cast<const TorchScriptEncoder*>(&module)) {
    return copied(encoder->script());
  }
  torch::jit::Module script("__torch__.unbraid.Module", unit, /*shouldMangle=*/true);
  script.register_attribute("training", c10::BoolType::get(), false);
  for (const auto& parameter : module.named_parameters(/*recurse=*/false)) {
    torch::Tensor copy = copied(parameter.value());
    copy.set_requires_grad(parameter.value().requires_grad());
    script.register_parameter(parameter.key(), copy, /*is_buffer=*/false);
  }
  for (const auto& buffer : module.named_buffers(/*recurse=*/false)) {
    script.register_buffer(buffer.key(), copied(buffer.value()));
  }
  for (const auto& child : module.named_children()) {
    script.register_module(script::submodule_name(child.key()), converted(*child.value(), unit));
  }
  if (const std::string source = source_of(module); !source.empty()) {
    script.define(source);
  }
  return script;
}

}  // namespace

std::string argument_name(const std::string& modality) {
  const bool number = std::isdigit(static_cast<unsigned char>(modality.front())) != 0;
  return number ? fmt::format("modality_{}", modality) : script::submodule_name(modality);
}

bool has_torchscript(const torch::nn::Module& part) {
  return dynamic_cast<const TorchScriptEncoder*>(&part) != nullptr || !source_of(part).empty();
}

torch::jit::Module to_torchscript(const Encoder& encoder) {
  TORCH_CHECK(has_torchscript(encoder), "[torchscript] this encoder has no form in TorchScript");
  return converted(encoder, std::make_shared<torch::jit::CompilationUnit>());
}

torch::jit::Module to_torchscript(MultimodalModelImpl& model) {
  script::Lines body;
  std::vector<std::string> arguments;
  std::vector<std::string> features;
  for (size_t m = 0; m < model.size(); ++m) {
    TORCH_CHECK(has_torchscript(model.encoder(m)), "[torchscript] the encoder of ", model.name(m),
                " has no form in TorchScript");
    const std::string name = argument_name(model.name(m));
    const std::string& feature = features.emplace_back(fmt::format("feature_of_{}", name));
    arguments.push_back(fmt::format("{}: Optional[Tensor] = None", name));
    body.add("{}: Optional[Tensor] = None", feature);
    body.add("if {} is not None:", name);
    body.add("  {} = {}.forward({})", feature,
             script::path(fmt::format("encoders.{}", model.name(m))), name);
  }
  TORCH_CHECK(has_torchscript(model.fusion()),
              "[torchscript] the fusion module has no form in TorchScript");
  body.add("return self.fusion.forward({})", fmt::join(features, ", "));
  torch::jit::Module script = converted(model, std::make_shared<torch::jit::CompilationUnit>());
  script.define(
      fmt::format("def forward(self, {}) -> Tensor:\n{}", fmt::join(arguments, ", "), body.text()));
  return script;
}

}  // namespace unbraid
