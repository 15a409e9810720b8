#include "unbraid/training/weights.h"

#include <map>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "unbraid/core/error.h"
#include "unbraid/training/torch_file.h"

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

NamedTensors read_weights(const std::string& path) {
  try {
    const File file(path);
    if (is_torch_file(file)) {
      return read_torch_file(file);
    }
  } catch (const DataError& error) {
    throw StorageError(error.what());
  }
  try {
    return read_safetensors(path).tensors;
  } catch (const StorageError& error) {
    const std::string what = error.what();
    throw StorageError(what + (what.find("not a safetensors file") == std::string::npos
                                   ? ""
                                   : "; nor is it what torch.save writes"));
  }
}

void load_weights(const NamedTensors& weights, const std::string& path, bool finite) {
  const torch::NoGradGuard no_grad;
  const NamedTensors file = read_weights(path);
  std::map<std::string, torch::Tensor> left(file.begin(), file.end());
  for (const auto& [name, tensor] : weights) {
    const auto entry = left.find(name);
    if (entry == left.end()) {
      throw StorageError(fmt::format("{}: expected a tensor {}, which is missing", path, name));
    }
    if (entry->second.sizes() != tensor.sizes()) {
      throw StorageError(fmt::format("{}: {}: expected the shape [{}], got [{}]", path, name,
                                     fmt::join(tensor.sizes(), ", "),
                                     fmt::join(entry->second.sizes(), ", ")));
    }
    if (finite) {
      check_finite(entry->second, tensor, path, name);
    }
    tensor.copy_(entry->second);
    left.erase(entry);
  }
  if (!left.empty()) {
    throw StorageError(fmt::format("{}: unexpected tensor {}", path, left.begin()->first));
  }
}

void check_finite(const torch::Tensor& given, const torch::Tensor& own, const std::string& path,
                  const std::string& name) {
  const torch::Tensor bad = given.isfinite().logical_not_().logical_and_(own.cpu().isfinite());
  if (bad.any().item<bool>()) {
    throw StorageError(fmt::format("{}: {}: expected finite numbers, {} of {} are not", path, name,
                                   bad.sum().item<int64_t>(), bad.numel()));
  }
}

void load_weights(torch::nn::Module& module, const std::string& path) {
  load_weights(weights_of(module), path, true);
}

void prefer_channels_last(torch::nn::Module& module) {
  for (torch::Tensor& parameter : module.parameters()) {
    if (parameter.dim() == 4) {
      parameter.set_data(parameter.detach().contiguous(torch::MemoryFormat::ChannelsLast));
    }
  }
}

}  // namespace unbraid
