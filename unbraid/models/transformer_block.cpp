#include "unbraid/models/transformer_block.h"

#include <cmath>
#include <limits>
#include <string>

#include <fmt/format.h>

#include "unbraid/models/script_source.h"

namespace unbraid {

using torch::Tensor;

SelfAttentionImpl::SelfAttentionImpl(int64_t width, int64_t heads)
    : heads_(heads),
      qkv_(register_module("qkv", torch::nn::Linear(width, 3 * width))),
      proj_(register_module("proj", torch::nn::Linear(width, width))) {
  TORCH_CHECK(heads > 0 && width % heads == 0,
              "[transformer] expected a number of heads that divides the width ", width, ", got ",
              heads);
}

Tensor SelfAttentionImpl::forward(const Tensor& x, const Tensor& mask,
                                  std::optional<int64_t> first) {
  const int64_t batch = x.size(0);
  const int64_t tokens = x.size(1);
  const int64_t width = x.size(2);
  const int64_t asked = first.value_or(tokens);
  // [B, T, n * width] as n times [B, heads, T, width / heads]
  const auto by_head = [&](const Tensor& projected) {
    return projected
        .view({batch, projected.size(1), projected.size(2) / width, heads_, width / heads_})
        .permute({2, 0, 3, 1, 4})
        .unbind(0);
  };
  std::vector<Tensor> qkv;
  if (asked == tokens) {
    qkv = by_head(qkv_->forward(x));
  } else {
    const auto projected = [&](const Tensor& input, int64_t from, int64_t size) {
      return by_head(torch::linear(input, qkv_->weight.narrow(0, from, size),
                                   qkv_->bias.narrow(0, from, size)));
    };
    qkv = projected(x.narrow(1, 0, asked), 0, width);
    for (const Tensor& part : projected(x, width, 2 * width)) {
      qkv.push_back(part);
    }
  }
  const double scale = 1 / std::sqrt(static_cast<double>(width / heads_));
  Tensor scores = torch::matmul(qkv[0] * scale, qkv[1].transpose(2, 3));
  Tensor nothing;
  if (mask.defined()) {
    // A softmax over nothing would be no number, in its gradient too.
    nothing = mask.any(1, true).logical_not();
    scores = scores.masked_fill((mask | nothing).logical_not().view({batch, 1, 1, tokens}),
                                -std::numeric_limits<double>::infinity());
  }
  Tensor mixed = torch::matmul(scores.softmax(-1), qkv[2]);
  if (mask.defined()) {
    mixed = mixed.masked_fill(nothing.view({batch, 1, 1, 1}), 0.0);
  }
  return proj_->forward(mixed.transpose(1, 2).reshape({batch, asked, -1}));
}

void SelfAttentionImpl::add_script(script::Lines& body, const std::string& name,
                                   bool masked) const {
  const auto head_width = static_cast<double>(proj_->weight.size(0) / heads_);
  body.add("qkv = {}.view([y.size(0), y.size(1), 3, {}, -1])", script::linear("y", name + ".qkv"),
           heads_);
  body.add("qkv = torch.permute(qkv, [2, 0, 3, 1, 4])");
  body.add("scores = torch.matmul(qkv[0] * {}, torch.transpose(qkv[1], 2, 3))",
           1 / std::sqrt(head_width));
  if (masked) {
    body.add("gone = torch.unsqueeze(torch.unsqueeze(torch.logical_not(mask), 1), 1)");
    body.add("scores = torch.masked_fill(scores, gone, float('-inf'))");
  }
  body.add("y = torch.matmul(torch.softmax(scores, -1), qkv[2])");
  body.add("y = {}", script::linear("torch.flatten(torch.transpose(y, 1, 2), 2)", name + ".proj"));
}

TransformerBlockImpl::TransformerBlockImpl(const TransformerBlockOptions& options)
    : dropout_(options.dropout),
      norm1_(register_module("norm1", make_layer_norm(options.width))),
      attn_(register_module("attn", SelfAttention(options.width, options.heads))),
      norm2_(register_module("norm2", make_layer_norm(options.width))),
      fc1_(options.width, 4 * options.width),
      fc2_(4 * options.width, options.width) {
  const auto mlp = register_module("mlp", std::make_shared<torch::nn::Module>());
  mlp->register_module("fc1", fc1_);
  mlp->register_module("fc2", fc2_);
}

Tensor TransformerBlockImpl::forward(const Tensor& x, const Tensor& mask,
                                     std::optional<int64_t> first) {
  TORCH_CHECK(x.dim() == 3 && x.size(2) == norm1_->weight.size(0),
              "[transformer] expected tokens [B, T, ", norm1_->weight.size(0), "], got ",
              x.sizes());
  TORCH_CHECK(!mask.defined() ||
                  (mask.scalar_type() == torch::kBool && mask.sizes() == x.sizes().slice(0, 2)),
              "[transformer] expected a bool mask ", x.sizes().slice(0, 2), " of the tokens, got ",
              mask.scalar_type(), " ", mask.sizes());
  const auto drop = [this](const Tensor& added) {
    return torch::dropout(added, dropout_, is_training());
  };
  const Tensor kept = first ? x.narrow(1, 0, *first) : x;
  const Tensor attended = kept + drop(attn_->forward(norm1_->forward(x), mask, first));
  const Tensor hidden = torch::gelu(fc1_->forward(norm2_->forward(attended)));
  return attended + drop(fc2_->forward(hidden));
}

void TransformerBlockImpl::add_script(script::Lines& body, const std::string& name,
                                      bool masked) const {
  const std::string add_y =
      fmt::format("x = x + torch.dropout(y, {:.17f}, self.training)", dropout_);
  body.add("y = {}", script::layer_norm("x", name + ".norm1", norm1_->options));
  attn_->add_script(body, name + ".attn", masked);
  body.add("{}", add_y);
  body.add("y = {}", script::layer_norm("x", name + ".norm2", norm2_->options));
  body.add("y = torch.gelu({})", script::linear("y", name + ".mlp.fc1"));
  body.add("y = {}", script::linear("y", name + ".mlp.fc2"));
  body.add("{}", add_y);
}

TransformerBlocksImpl::TransformerBlocksImpl(int64_t depth,
                                             const TransformerBlockOptions& options) {
  for (int64_t i = 0; i < depth; ++i) {
    blocks_.push_back(register_module(std::to_string(i), TransformerBlock(options)));
  }
}

Tensor TransformerBlocksImpl::forward(Tensor x, const Tensor& mask, std::optional<int64_t> first) {
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const bool last = i + 1 == blocks_.size();
    x = blocks_[i]->forward(x, mask, last ? first : std::nullopt);
  }
  return x;
}

void TransformerBlocksImpl::add_script(script::Lines& body, const std::string& name,
                                       bool masked) const {
  for (size_t i = 0; i < blocks_.size(); ++i) {
    blocks_[i]->add_script(body, fmt::format("{}.{}", name, i), masked);
  }
}

TransformerBlockOptions read_transformer_block(Options& options,
                                               const TransformerBlockOptions& defaults) {
  const TransformerBlockOptions read{
      .width = options.integer("width", defaults.width, {.min = 1, .max = 1 << 16}),
      .heads = options.integer("heads", defaults.heads, {.min = 1, .max = 1 << 16}),
      .dropout = options.number("dropout", defaults.dropout, {.min = 0}),
  };
  if (read.dropout >= 1) {
    throw options.error("dropout", fmt::format("expected a number below 1, got {}", read.dropout));
  }
  if (read.width % read.heads != 0) {
    throw options.error(
        "heads", fmt::format("expected a divisor of width ({}), got {}", read.width, read.heads));
  }
  return read;
}

torch::nn::LayerNorm make_layer_norm(int64_t width) {
  constexpr double kEpsilon = 1e-6;
  return torch::nn::LayerNorm(torch::nn::LayerNormOptions({width}).eps(kEpsilon));
}

}  // namespace unbraid
