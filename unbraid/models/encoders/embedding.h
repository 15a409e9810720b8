#pragma once

#include <string>

#include "unbraid/models/encoders/encoder.h"

namespace unbraid {

/// The mean of the embeddings of a text's tokens, padding left out: ids, int64 [B, T] → [B, size];
/// zero for a text that is all padding. With `tokens` the embeddings themselves [B, T, size], those
/// of padding zero. Parameters: embedding.weight [vocab_size, size].
class EmbeddingEncoder : public Encoder {
 public:
  static constexpr int64_t kVocabSize = 30000;

  EmbeddingEncoder(int64_t vocab_size, int64_t size, int64_t padding, bool tokens = false);
  torch::Tensor forward(const torch::Tensor& input) override;
  [[nodiscard]] int64_t feature_size() const override { return embedding_->weight.size(1); }
  [[nodiscard]] FeatureKind feature_kind() const override {
    return tokens_ ? FeatureKind::kTokens : FeatureKind::kVector;
  }
  [[nodiscard]] std::string torchscript() const override;

  static EncoderBuilder read(Options& options);

 private:
  int64_t padding_;
  bool tokens_;
  torch::nn::Embedding embedding_;
};

}  // namespace unbraid
