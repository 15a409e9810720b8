#pragma once

#include <array>
#include <string>

#include "unbraid/models/encoders/encoder.h"
#include "unbraid/models/transformer_block.h"

namespace unbraid {

/// The defaults are those of ViT-S/16 (Touvron et al., 2021, as DeiT-S).
struct VisionTransformerOptions {
  std::array<int64_t, 2> image_size{224, 224};  // height, width: multiples of the patch
  int64_t patch = 16;
  int64_t in_channels = 3;
  int64_t depth = 12;
  TransformerBlockOptions block{};
  bool tokens = false;
};

/// Vision transformer (Dosovitskiy et al., 2021) without its classifier: images [B, in_channels,
/// height, width] or clips [B, N, …], whose features are averaged → the class token after the last
/// norm [B, width], or with `tokens` all tokens [B, 1 + patches, width], that one first. Parameters
/// have timm's names: cls_token, pos_embed, patch_embed.proj.{weight,bias}, blocks.0.…, norm.….
class VisionTransformer : public Encoder {
 public:
  explicit VisionTransformer(const VisionTransformerOptions& options);
  torch::Tensor forward(const torch::Tensor& input) override;
  [[nodiscard]] int64_t feature_size() const override { return options_.block.width; }
  [[nodiscard]] FeatureKind feature_kind() const override {
    return options_.tokens ? FeatureKind::kTokens : FeatureKind::kVector;
  }
  [[nodiscard]] std::string torchscript() const override;

  static EncoderBuilder read(Options& options);

 private:
  torch::Tensor encode(const torch::Tensor& images);

  VisionTransformerOptions options_;
  torch::Tensor cls_token_;
  torch::Tensor pos_embed_;
  torch::nn::Conv2d proj_;
  TransformerBlocks blocks_;
  torch::nn::LayerNorm norm_;
};

}  // namespace unbraid
