#pragma once

#include <optional>
#include <string>
#include <vector>

#include "unbraid/core/options.h"
#include "unbraid/core/torch.h"

namespace unbraid::script {
class Lines;
}

namespace unbraid {

/// Multi-head self-attention (Vaswani et al., 2017, equations 1 and 2). Parameters, as in timm:
/// qkv.{weight [3 * width, width], bias}, proj.{weight, bias}.
class SelfAttentionImpl : public torch::nn::Module {
 public:
  SelfAttentionImpl(int64_t width, int64_t heads);
  /// As of TransformerBlock.
  torch::Tensor forward(const torch::Tensor& x, const torch::Tensor& mask = {},
                        std::optional<int64_t> first = {});
  /// Adds to `body` what puts into `y` what this attention, called `name`, makes of it.
  void add_script(script::Lines& body, const std::string& name, bool masked = false) const;

 private:
  int64_t heads_;
  torch::nn::Linear qkv_;
  torch::nn::Linear proj_;
};
TORCH_MODULE(SelfAttention);

struct TransformerBlockOptions {
  int64_t width = 384;
  int64_t heads = 6;     // a divisor of the width
  double dropout = 0.0;  // of what attention and perceptron add, in training
};

/// A block of a transformer with its norms before attention and perceptron (of 4 * width units with
/// GELU), as in ViT (Dosovitskiy et al., 2021): x += attention(norm1(x)); x += mlp(norm2(x)).
/// Parameters have timm's names: norm1.{weight,bias}, attn.qkv.…, attn.proj.…, norm2.…, mlp.fc1.…,
/// mlp.fc2.….
class TransformerBlockImpl : public torch::nn::Module {
 public:
  explicit TransformerBlockImpl(const TransformerBlockOptions& options);

  /// x [B, T, width] → [B, T, width]. `mask` [B, T] bool says which tokens may be attended to;
  /// undefined: all. Attention adds its bias alone in samples that have none. With `first` the
  /// first so many tokens of the result and no more, [B, first, width], for the cost of these.
  torch::Tensor forward(const torch::Tensor& x, const torch::Tensor& mask = {},
                        std::optional<int64_t> first = {});
  /// As of TransformerBlocks.
  void add_script(script::Lines& body, const std::string& name, bool masked = false) const;

 private:
  double dropout_;
  torch::nn::LayerNorm norm1_;
  SelfAttention attn_;
  torch::nn::LayerNorm norm2_;
  torch::nn::Linear fc1_;
  torch::nn::Linear fc2_;
};
TORCH_MODULE(TransformerBlock);

/// `depth` blocks one after another, with parameters 0.norm1.weight, ….
class TransformerBlocksImpl : public torch::nn::Module {
 public:
  TransformerBlocksImpl(int64_t depth, const TransformerBlockOptions& options);
  /// As of TransformerBlock.
  torch::Tensor forward(torch::Tensor x, const torch::Tensor& mask = {},
                        std::optional<int64_t> first = {});
  /// Adds to `body` what turns x into what these blocks, called `name`, make of it. `masked`: by
  /// the variable mask, in which every sample has a token.
  void add_script(script::Lines& body, const std::string& name, bool masked = false) const;

 private:
  std::vector<TransformerBlock> blocks_;
};
TORCH_MODULE(TransformerBlocks);

/// Reads `width`, `heads` and `dropout` from a recipe's table.
TransformerBlockOptions read_transformer_block(Options& options,
                                               const TransformerBlockOptions& defaults);

/// LayerNorm over the last dimension with ViT's epsilon.
torch::nn::LayerNorm make_layer_norm(int64_t width);

}  // namespace unbraid
