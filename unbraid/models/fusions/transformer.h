#pragma once

#include "unbraid/models/fusions/fusion.h"
#include "unbraid/models/transformer_block.h"

namespace unbraid {

struct TransformerFusionOptions {
  TransformerBlockOptions block = {.width = 128, .heads = 4};
  int64_t depth = 2;         // layers, shared by all modalities
  int64_t max_tokens = 512;  // of one modality
};

/// A transformer over the tokens of all modalities: each feature, a vector being one token and a
/// map H * W of them, is projected to the width and added to an embedding of its modality and one
/// of its position; a class token goes in front, and y = fc_out(norm(class token)) after the last
/// layer. Tokens of absent modalities do not exist; in samples of a batch that lack some, nothing
/// attends to them, nor to padding: the tokens of a sequence that are zero. Parameters:
/// fc_<modality>.{weight [width, feature size], bias}, modality_<modality> [width], position
/// [max_tokens, width], class_token [width], blocks.<i>.… (TransformerBlock), norm.…, fc_out.….
class TransformerFusion : public Fusion {
 public:
  explicit TransformerFusion(const FusionShape& shape,
                             const TransformerFusionOptions& options = {});
  [[nodiscard]] std::string torchscript() const override;

  static FusionBuilder read(Options& options);

 private:
  torch::Tensor fuse(const ModalityTensors& features, const Presence& presence) override;

  std::vector<std::string> names_;
  std::vector<torch::nn::Linear> projections_;
  std::vector<torch::Tensor> modality_;
  torch::Tensor position_;
  torch::Tensor class_token_;
  TransformerBlocks blocks_{nullptr};
  torch::nn::LayerNorm norm_{nullptr};
  torch::nn::Linear fc_out_{nullptr};
};

}  // namespace unbraid
