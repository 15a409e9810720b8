#include "unbraid/models/encoders/embedding.h"

#include "unbraid/models/script_source.h"

namespace unbraid {

EmbeddingEncoder::EmbeddingEncoder(int64_t vocab_size, int64_t size, int64_t padding, bool tokens)
    : padding_(padding),
      tokens_(tokens),
      embedding_(register_module("embedding", torch::nn::Embedding(vocab_size, size))) {}

torch::Tensor EmbeddingEncoder::forward(const torch::Tensor& input) {
  TORCH_CHECK(
      input.dim() == 2 && input.scalar_type() == torch::kLong,
      "[embedding] expected ids of tokens, int64 [B, T], as kind = \"text\" gives them, got ",
      input.scalar_type(), " ", input.sizes());
  const int64_t largest = input.is_cpu() ? input.max().item<int64_t>() : 0;
  TORCH_CHECK(largest < embedding_->weight.size(0), "[embedding] vocab_size: expected more than ",
              largest, ", an id of the text, got ", embedding_->weight.size(0));
  const torch::Tensor present = (input != padding_).unsqueeze(2);
  const torch::Tensor embedded = embedding_->forward(input) * present;
  return tokens_ ? embedded : embedded.sum(1) / present.sum(1).clamp_min(1);
}

std::string EmbeddingEncoder::torchscript() const {
  script::Lines body;
  body.add("present = torch.unsqueeze(x != {}, 2)", padding_);
  body.add("embedded = torch.embedding(self.embedding.weight, x) * present");
  body.add("return {}", tokens_ ? "embedded"
                                : "torch.sum(embedded, [1]) / "
                                  "torch.clamp_min(torch.sum(present, [1]), 1)");
  return script::encoder(body);
}

EncoderBuilder EmbeddingEncoder::read(Options& options) {
  const int64_t vocab_size = options.integer("vocab_size", kVocabSize, {2, 1 << 24});
  const int64_t size = options.integer("size", 256, {1, 1 << 16});
  const int64_t padding = options.integer("padding", 0, {0, static_cast<double>(vocab_size - 1)});
  const bool tokens = options.boolean("tokens", false);
  return [=] { return std::make_shared<EmbeddingEncoder>(vocab_size, size, padding, tokens); };
}

}  // namespace unbraid
