#include "unbraid/models/encoders/mlp.h"

#include <string>

#include "unbraid/models/script_source.h"

namespace unbraid {

Mlp::Mlp(std::vector<int64_t> layers) : layers_(std::move(layers)) {
  TORCH_CHECK(layers_.size() >= 2, "[mlp] expected at least two layer sizes, got ", layers_.size());
  for (size_t i = 1; i < layers_.size(); ++i) {
    linears_.push_back(
        register_module("fc" + std::to_string(i), torch::nn::Linear(layers_[i - 1], layers_[i])));
  }
}

torch::Tensor Mlp::forward(const torch::Tensor& input) {
  torch::Tensor x = input.flatten(1);
  TORCH_CHECK(x.size(1) == layers_.front(), "[mlp] expected ", layers_.front(),
              " inputs per sample, got ", x.size(1), " (", input.sizes(), ")");
  for (size_t i = 0; i < linears_.size(); ++i) {
    x = linears_[i]->forward(i == 0 ? x : torch::relu(x));
  }
  return x;
}

std::string Mlp::torchscript() const {
  script::Lines body;
  body.add("x = torch.flatten(x, 1)");
  for (size_t i = 1; i <= linears_.size(); ++i) {
    body.add("x = {}", script::linear(i == 1 ? "x" : "torch.relu(x)", fmt::format("fc{}", i)));
  }
  body.add("return x");
  return script::encoder(body);
}

EncoderBuilder Mlp::read(Options& options) {
  const auto layers = options.integers("layers", std::nullopt, {.min = 1, .max = 1 << 20});
  if (layers.size() < 2) {
    throw options.error("layers", "expected the input size and at least one layer size");
  }
  return [layers] { return std::make_shared<Mlp>(layers); };
}

}  // namespace unbraid
