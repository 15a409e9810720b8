#include "unbraid/models/initialisation.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "unbraid/core/random.h"
#include "unbraid/models/encoders/torchscript.h"

namespace unbraid {
namespace {

void draw_normal(torch::Tensor& weight, double deviation, uint64_t seed, const std::string& name) {
  auto generator =
      at::detail::createCPUGenerator(RandomStream::of(seed, 0, name, "initialise").bits());
  weight.copy_(torch::empty(weight.sizes(), torch::kFloat).normal_(0.0, deviation, generator));
}

void fill(torch::Tensor& parameter, double value) {
  if (parameter.defined()) {
    parameter.fill_(value);
  }
}

template <typename Convolution>
bool draw_convolution(torch::nn::Module& layer, uint64_t seed, const std::string& name) {
  auto* convolution = layer.as<Convolution>();
  if (convolution == nullptr) {
    return false;
  }
  const auto fan_out = convolution->weight.numel() / convolution->weight.size(1);
  draw_normal(convolution->weight, std::sqrt(2.0 / static_cast<double>(fan_out)), seed, name);
  fill(convolution->bias, 0.0);
  return true;
}

template <typename Norm>
bool reset_norm(torch::nn::Module& layer) {
  auto* norm = layer.as<Norm>();
  if (norm == nullptr) {
    return false;
  }
  fill(norm->weight, 1.0);
  fill(norm->bias, 0.0);
  return true;
}

/// Whether `layer` is of a kind that has a way of its own.
bool draw_layer(torch::nn::Module& layer, uint64_t seed, const std::string& name) {
  using namespace torch::nn;  // NOLINT(google-build-using-namespace)
  if (auto* linear = layer.as<Linear>()) {
    const auto fans = linear->weight.size(0) + linear->weight.size(1);
    draw_normal(linear->weight, std::sqrt(2.0 / static_cast<double>(fans)), seed, name);
    fill(linear->bias, 0.0);
    return true;
  }
  if (auto* embedding = layer.as<Embedding>()) {
    draw_normal(embedding->weight, 1.0, seed, name);
    return true;
  }
  return draw_convolution<Conv1d>(layer, seed, name) ||
         draw_convolution<Conv2d>(layer, seed, name) ||
         draw_convolution<Conv3d>(layer, seed, name) || reset_norm<BatchNorm1d>(layer) ||
         reset_norm<BatchNorm2d>(layer) || reset_norm<BatchNorm3d>(layer) ||
         reset_norm<LayerNorm>(layer) || reset_norm<GroupNorm>(layer);
}

}  // namespace

void initialise(torch::nn::Module& module, uint64_t seed) {
  constexpr double kDeviation = 0.02;
  const torch::NoGradGuard no_grad;
  std::vector<std::string> loaded;  // prefixes of what came with weights of its own
  for (const auto& entry : module.named_modules()) {
    if (entry.value()->as<TorchScriptEncoder>() != nullptr) {
      loaded.push_back(entry.key().empty() ? "" : entry.key() + ".");
    }
  }
  for (const auto& entry : module.named_modules()) {
    const bool keeps = std::any_of(loaded.begin(), loaded.end(), [&](const std::string& prefix) {
      return (entry.key() + ".").starts_with(prefix);
    });
    if (keeps || draw_layer(*entry.value(), seed, entry.key())) {
      continue;
    }
    const std::string prefix = entry.key().empty() ? "" : entry.key() + ".";
    for (auto& own : entry.value()->named_parameters(/*recurse=*/false)) {
      draw_normal(own.value(), kDeviation, seed, prefix + own.key());
    }
  }
}

}  // namespace unbraid
