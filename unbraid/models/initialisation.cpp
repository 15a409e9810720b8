#include "unbraid/models/initialisation.h"

#include <cmath>
#include <optional>
#include <string>

#include "unbraid/core/random.h"

namespace unbraid {
namespace {

void draw_normal(torch::Tensor& weight, double deviation, uint64_t seed, const std::string& name) {
  auto generator =
      at::detail::createCPUGenerator(RandomStream::of(seed, 0, name, "initialise").bits());
  weight.copy_(torch::empty(weight.sizes(), torch::kFloat).normal_(0.0, deviation, generator));
}

void zero(torch::Tensor& bias) {
  if (bias.defined()) {
    bias.zero_();
  }
}

template <typename Convolution>
void draw_convolution(Convolution& convolution, uint64_t seed, const std::string& name) {
  const auto fan_out = convolution.weight.numel() / convolution.weight.size(1);
  draw_normal(convolution.weight, std::sqrt(2.0 / static_cast<double>(fan_out)), seed, name);
  zero(convolution.bias);
}

template <typename Norm>
void reset(Norm& norm) {
  norm.weight.fill_(1.0);
  zero(norm.bias);
}

}  // namespace

void initialise(torch::nn::Module& module, uint64_t seed) {
  const torch::NoGradGuard no_grad;
  for (const auto& entry : module.named_modules()) {
    torch::nn::Module& layer = *entry.value();
    if (auto* linear = layer.as<torch::nn::Linear>()) {
      const auto fans = linear->weight.size(0) + linear->weight.size(1);
      draw_normal(linear->weight, std::sqrt(2.0 / static_cast<double>(fans)), seed, entry.key());
      zero(linear->bias);
    } else if (auto* convolution = layer.as<torch::nn::Conv2d>()) {
      draw_convolution(*convolution, seed, entry.key());
    } else if (auto* over_time = layer.as<torch::nn::Conv1d>()) {
      draw_convolution(*over_time, seed, entry.key());
    } else if (auto* embedding = layer.as<torch::nn::Embedding>()) {
      draw_normal(embedding->weight, 1.0, seed, entry.key());
    } else if (auto* norm = layer.as<torch::nn::BatchNorm2d>()) {
      reset(*norm);
    } else if (auto* norm_over_time = layer.as<torch::nn::BatchNorm1d>()) {
      reset(*norm_over_time);
    }
  }
}

}  // namespace unbraid
