#include "unbraid/training/weights.h"

#include <map>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "unbraid/core/error.h"

namespace unbraid {

NamedTensors weights_of(const torch::nn::Module& module) {
  NamedTensors weights;
  for (const auto& entry : module.named_parameters()) {
    weights.emplace_back(entry.key(), entry.value().detach());
  }
  for (const auto& entry : module.named_buffers()) {
    weights.emplace_back(entry.key(), entry.value());
  }
  return weights;
}

void load_weights(torch::nn::Module& module, const std::string& path) {
  const torch::NoGradGuard no_grad;
  const auto file = read_safetensors(path);
  std::map<std::string, torch::Tensor> left(file.tensors.begin(), file.tensors.end());
  for (auto& [name, tensor] : weights_of(module)) {
    const auto entry = left.find(name);
    if (entry == left.end()) {
      throw StorageError(fmt::format("{}: expected a tensor {}, which is missing", path, name));
    }
    if (entry->second.sizes() != tensor.sizes()) {
      throw StorageError(fmt::format("{}: {}: expected the shape [{}], got [{}]", path, name,
                                     fmt::join(tensor.sizes(), ", "),
                                     fmt::join(entry->second.sizes(), ", ")));
    }
    tensor.copy_(entry->second);
    left.erase(entry);
  }
  if (!left.empty()) {
    throw StorageError(fmt::format("{}: unexpected tensor {}", path, left.begin()->first));
  }
}

void prefer_channels_last(torch::nn::Module& module) {
  for (torch::Tensor& parameter : module.parameters()) {
    if (parameter.dim() == 4) {
      parameter.set_data(parameter.detach().contiguous(torch::MemoryFormat::ChannelsLast));
    }
  }
}

}  // namespace unbraid
