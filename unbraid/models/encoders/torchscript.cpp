#include "unbraid/models/encoders/torchscript.h"

#include <algorithm>
#include <array>
#include <exception>
#include <new>
#include <sstream>

#include <c10/util/hash.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/csrc/jit/serialization/import.h>

#include "unbraid/core/durable_file.h"

namespace unbraid {
namespace {

constexpr std::array kKinds{FeatureKind::kVector, FeatureKind::kTokens, FeatureKind::kMap};

/// What is wrong, in one line, of what LibTorch says in many: the error at the end of a traceback,
/// else the first line.
std::string reason_of(const std::exception& error) {
  const auto* from_torch = dynamic_cast<const c10::Error*>(&error);
  const std::string what =
      from_torch != nullptr ? from_torch->what_without_backtrace() : std::string(error.what());
  const size_t traceback = what.rfind("Error: ");
  const size_t start = traceback == std::string::npos ? 0 : what.rfind('\n', traceback) + 1;
  std::string line = what.substr(start, what.find('\n', start) - start);
  while (line.ends_with('\'') || line.ends_with(' ')) {  // what it quotes begins on the next one
    line.pop_back();
  }
  return line.empty() ? "it is damaged" : line;
}

std::string read_script(const std::string& file) {
  constexpr uint64_t kSmallestArchive = 22;  // bytes of a ZIP without files
  try {
    const InputFile input(file);
    if (input.size() >= kSmallestArchive) {
      std::string content(input.size(), '\0');
      input.read(0, content.data(), content.size());
      return content;
    }
  } catch (const StorageError& error) {
    throw RecipeError(fmt::format("{}; the file holds the encoder's code, which checkpoints do not",
                                  error.what()));
  }
  throw RecipeError(
      fmt::format("{}: expected TorchScript, as torch.jit.save writes it: it is too short", file));
}

torch::jit::Module load_script(const std::string& file) {
  std::istringstream content(read_script(file));
  try {
    return torch::jit::load(content, torch::kCPU);
  } catch (const std::exception& error) {
    throw RecipeError(fmt::format("{}: expected TorchScript, as torch.jit.save writes it: {}", file,
                                  reason_of(error)));
  }
}

bool is_tensor(const c10::Argument& argument) {
  return argument.type()->kind() == c10::TypeKind::TensorType;
}

void check_forward(const torch::jit::Module& script, const std::string& file) {
  const auto forward = script.find_method("forward");
  if (!forward) {
    throw RecipeError(fmt::format("{}: expected a module with a forward, found none", file));
  }
  const c10::FunctionSchema& schema = forward->function().getSchema();
  const auto& arguments = schema.arguments();  // the module itself comes first
  const bool takes_one = arguments.size() >= 2 && is_tensor(arguments[1]) &&
                         std::all_of(arguments.begin() + 2, arguments.end(),
                                     [](const auto& more) { return more.default_value(); });
  const auto& returns = schema.returns();
  if (!takes_one || returns.size() != 1 || !is_tensor(returns[0])) {
    throw RecipeError(
        fmt::format("{}: expected a forward that takes one tensor and returns one, found {}", file,
                    c10::toString(schema)));
  }
}

/// Whether a checkpoint can hold it.
bool is_plain(const torch::Tensor& tensor) {
  constexpr std::array kTypes{torch::kDouble, torch::kFloat, torch::kHalf,  torch::kBFloat16,
                              torch::kLong,   torch::kInt,   torch::kShort, torch::kChar,
                              torch::kByte,   torch::kBool};
  return tensor.layout() == torch::kStrided &&
         std::find(kTypes.begin(), kTypes.end(), tensor.scalar_type()) != kTypes.end();
}

bool is_same_memory(const torch::Tensor& left, const torch::Tensor& right) {
  return left.is_same(right) ||
         (left.numel() > 0 && left.is_alias_of(right) && left.dtype() == right.dtype() &&
          left.storage_offset() == right.storage_offset() && left.sizes() == right.sizes() &&
          left.strides() == right.strides());
}

}  // namespace

TorchScriptEncoder::TorchScriptEncoder(const std::string& file, int64_t size, FeatureKind kind)
    : file_(file), size_(size), kind_(kind), script_(load_script(file)) {
  check_forward(script_, file_);
  if (script_.parameters().size() == 0) {
    throw RecipeError(fmt::format(
        "{}: expected a module with parameters, found none: torch.jit.freeze makes them constants "
        "that cannot be trained and fixes the mode; save the module without freezing it",
        file_));
  }
  std::vector<torch::Tensor> known;
  adopt(*this, script_, known);
  script_.train(is_training());
}

void TorchScriptEncoder::adopt(torch::nn::Module& module, torch::jit::Module script,
                               std::vector<torch::Tensor>& known) {
  /// Whether it is new; one that the file has twice becomes one tensor.
  const auto is_new = [&](const std::string& name, const torch::Tensor& tensor) {
    if (!is_plain(tensor)) {
      throw RecipeError(fmt::format("{}: {}: expected a dense tensor of a plain type, found {}",
                                    file_, name, tensor.toString()));
    }
    const auto same = std::find_if(known.begin(), known.end(), [&](const torch::Tensor& candidate) {
      return is_same_memory(candidate, tensor);
    });
    if (same != known.end()) {
      script.setattr(name, *same);
      return false;
    }
    known.push_back(tensor);
    return true;
  };
  for (const auto& parameter : script.named_parameters(/*recurse=*/false)) {
    if (is_new(parameter.name, parameter.value)) {
      module.register_parameter(parameter.name, parameter.value, parameter.value.requires_grad());
    }
  }
  for (const auto& buffer : script.named_buffers(/*recurse=*/false)) {
    if (buffer.value.defined() && is_new(buffer.name, buffer.value)) {
      module.register_buffer(buffer.name, buffer.value);
      buffers_of_script_.push_back({script, buffer.name, buffer.value});
    }
  }
  for (const auto& child : script.named_children()) {
    adopt(*module.register_module(child.name, std::make_shared<torch::nn::Module>()), child.value,
          known);
  }
}

void TorchScriptEncoder::train(bool on) {
  Encoder::train(on);
  script_.train(on);
}

torch::Tensor TorchScriptEncoder::forward(const torch::Tensor& input) {
  const torch::jit::GraphOptimizerEnabledGuard unoptimised(false);
  torch::Tensor feature;
  try {
    feature = script_.forward({input}).toTensor();
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {
    TORCH_CHECK(false, "[torchscript] ", file_, ": ", reason_of(error));
  }
  follow_buffers();
  check_feature(input, feature);
  return feature;
}

void TorchScriptEncoder::follow_buffers() {
  const torch::NoGradGuard no_grad;
  for (ScriptBuffer& buffer : buffers_of_script_) {
    const torch::Tensor now = buffer.owner.attr(buffer.name).toTensor();
    if (!now.is_same(buffer.tensor)) {
      TORCH_CHECK(now.sizes() == buffer.tensor.sizes(), "[torchscript] ", file_, ": ", buffer.name,
                  ": expected the shape ", buffer.tensor.sizes(), " after forward too, found ",
                  now.sizes());
      buffer.tensor.copy_(now);
      buffer.owner.setattr(buffer.name, buffer.tensor);
    }
  }
}

void TorchScriptEncoder::check_feature(const torch::Tensor& input, const torch::Tensor& feature) {
  TORCH_CHECK(feature.scalar_type() != torch::kDouble || input.scalar_type() == torch::kDouble,
              "[torchscript] ", file_, ": expected features of float32, found float64");
  const bool is_feature = feature.dim() >= 2 && feature.dim() <= 4 &&
                          feature.size(0) == input.size(0) && feature.is_floating_point();
  const auto kind = static_cast<FeatureKind>(feature.dim() - 2);
  const int64_t size = !is_feature ? 0 : feature.size(kind == FeatureKind::kTokens ? 2 : 1);
  if (size_ == 0 && size > 0) {
    size_ = size;
    kind_ = kind;
  }
  TORCH_CHECK(size > 0 && size == size_ && kind == kind_, "[torchscript] ", file_, ": expected ",
              size_ == 0 ? "features [B, d], tokens [B, T, d] or maps [B, d, H, W]"
                         : fmt::format("features of {} numbers ({})", size_, name_of(kind_)),
              ", found ", feature.toString(), " ", feature.sizes(), " for an input ",
              input.sizes());
}

std::string TorchScriptEncoder::checksum_of(const std::string& file) {
  return c10::sha1(read_script(file)).str();
}

EncoderBuilder TorchScriptEncoder::read(Options& options) {
  const std::string file = options.path("file");
  if (file.empty()) {
    throw options.error("file", "expected the path of a TorchScript file, got \"\"");
  }
  if (!options.boolean("trust", false)) {
    throw options.error("trust",
                        "expected true: a TorchScript file is a program that runs with all your "
                        "rights; say trust = true where you know who made it");
  }
  const int64_t size = options.integer("feature_size", 0, {.min = 0, .max = 1 << 24});
  std::vector<std::string> names(kKinds.size());
  std::transform(kKinds.begin(), kKinds.end(), names.begin(), name_of);
  const std::string name = options.choice("features", names, names.front());
  if (size == 0 && name != names.front()) {
    throw options.error("features",
                        "expected feature_size beside it; without that both are found from data");
  }
  const FeatureKind kind = kKinds.at(std::find(names.begin(), names.end(), name) - names.begin());
  const std::string checksum = options.text("checksum", "");
  return [=]() -> std::shared_ptr<Encoder> {
    try {
      if (const std::string found = checksum_of(file); !checksum.empty() && found != checksum) {
        throw RecipeError(
            fmt::format("{}: expected the file of the checksum {}, found another, of {}", file,
                        checksum, found));
      }
      return std::make_shared<TorchScriptEncoder>(file, size, kind);
    } catch (const RecipeError& error) {
      throw options.error("file", error.what());
    }
  };
}

}  // namespace unbraid
