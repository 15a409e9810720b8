#pragma once

#include <string>

#include "unbraid/models/encoders/encoder.h"
#include "unbraid/models/transformer_block.h"

namespace unbraid {

struct TransformerEncoderOptions {
  int64_t in_features = 0;
  int64_t depth = 2;
  TransformerBlockOptions block{.width = 128, .heads = 4, .dropout = 0.1};
  int64_t max_length = 512;
  bool learned_positions = false;  // else sines and cosines (Vaswani et al., 2017, section 3.5)
  bool tokens = false;
};

/// A transformer for sequences of feature vectors: a projection, to which the positions are added,
/// blocks and a norm. [B, T, in_features] with T of at most max_length → the mean over time [B,
/// width], or with `tokens` [B, T, width]. Parameters: proj.{weight,bias}, pos_embed [1,
/// max_length, width] if learned, blocks.0.…, norm.….
class TransformerEncoder : public Encoder {
 public:
  explicit TransformerEncoder(const TransformerEncoderOptions& options);
  torch::Tensor forward(const torch::Tensor& input) override;
  [[nodiscard]] int64_t feature_size() const override { return options_.block.width; }
  [[nodiscard]] FeatureKind feature_kind() const override {
    return options_.tokens ? FeatureKind::kTokens : FeatureKind::kVector;
  }
  [[nodiscard]] std::string torchscript() const override;

  static EncoderBuilder read(Options& options);

 private:
  [[nodiscard]] torch::Tensor positions(const torch::Tensor& like) const;

  TransformerEncoderOptions options_;
  torch::nn::Linear proj_;
  torch::Tensor pos_embed_;
  TransformerBlocks blocks_;
  torch::nn::LayerNorm norm_;
};

}  // namespace unbraid
