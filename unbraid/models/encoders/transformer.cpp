#include "unbraid/models/encoders/transformer.h"

#include <cmath>

#include "unbraid/models/script_source.h"

namespace unbraid {
namespace {

/// The logarithm of the rate of the last of `width` sines and cosines, for each of them.
double slowest(int64_t width) { return -std::log(10000.0) / static_cast<double>(width); }

}  // namespace

TransformerEncoder::TransformerEncoder(const TransformerEncoderOptions& options)
    : options_(options),
      proj_(register_module("proj", torch::nn::Linear(options.in_features, options.block.width))),
      blocks_(register_module("blocks", TransformerBlocks(options.depth, options.block))),
      norm_(register_module("norm", make_layer_norm(options.block.width))) {
  if (options.learned_positions) {
    pos_embed_ =
        register_parameter("pos_embed", torch::zeros({1, options.max_length, options.block.width}));
  }
}

torch::Tensor TransformerEncoder::forward(const torch::Tensor& input) {
  TORCH_CHECK(input.dim() == 3 && input.size(2) == options_.in_features && input.size(1) >= 1 &&
                  input.size(1) <= options_.max_length,
              "[transformer] expected sequences [B, T, ", options_.in_features,
              "] with T of at most ", options_.max_length, " (max_length), got ", input.sizes());
  const torch::Tensor projected = proj_->forward(input);
  const torch::Tensor x = norm_->forward(blocks_->forward(projected + positions(projected)));
  return options_.tokens ? x : x.mean(1);
}

/// [1 or none, T, width] for `like` [B, T, width].
torch::Tensor TransformerEncoder::positions(const torch::Tensor& like) const {
  const int64_t length = like.size(1);
  if (options_.learned_positions) {
    return pos_embed_.narrow(1, 0, length);
  }
  const int64_t width = options_.block.width;
  const auto numbers = torch::TensorOptions(torch::kFloat).device(like.device());
  const torch::Tensor rates = (torch::arange(0, width, 2, numbers) * slowest(width)).exp();
  const torch::Tensor angles = torch::arange(length, numbers).unsqueeze(1) * rates;
  return torch::stack({angles.sin(), angles.cos()}, 2)
      .flatten(1)
      .narrow(1, 0, width)
      .to(proj_->weight.scalar_type());
}

std::string TransformerEncoder::torchscript() const {
  const int64_t width = options_.block.width;
  script::Lines body;
  body.add("x = {}", script::linear("x", "proj"));
  if (options_.learned_positions) {
    body.add("x = x + torch.narrow(self.pos_embed, 1, 0, x.size(1))");
  } else {
    constexpr auto kFloat = static_cast<int>(torch::kFloat);
    body.add("rates = torch.exp(torch.arange(0, {}, 2, dtype={}, device=x.device) * ({:.17g}))",
             width, kFloat, slowest(width));
    body.add("steps = torch.arange(x.size(1), dtype={}, device=x.device)", kFloat);
    body.add("angles = torch.unsqueeze(steps, 1) * rates");
    body.add("waves = torch.flatten(torch.stack([torch.sin(angles), torch.cos(angles)], 2), 1)");
    body.add("x = x + torch.type_as(torch.narrow(waves, 1, 0, {}), x)", width);
  }
  blocks_->add_script(body, "blocks");
  body.add("x = {}", script::layer_norm("x", "norm", norm_->options));
  body.add("return {}", options_.tokens ? "x" : "torch.mean(x, [1])");
  return script::encoder(body);
}

EncoderBuilder TransformerEncoder::read(Options& options) {
  TransformerEncoderOptions read;
  read.in_features = options.integer("in_features", std::nullopt, {.min = 1, .max = 1 << 20});
  read.depth = options.integer("depth", read.depth, {.min = 1, .max = 1000});
  read.block = read_transformer_block(options, read.block);
  read.max_length = options.integer("max_length", read.max_length, {.min = 1, .max = 1 << 20});
  read.learned_positions =
      options.choice("positions", {"sinusoidal", "learned"}, "sinusoidal") == "learned";
  read.tokens = options.boolean("tokens", false);
  return [read] { return std::make_shared<TransformerEncoder>(read); };
}

}  // namespace unbraid
