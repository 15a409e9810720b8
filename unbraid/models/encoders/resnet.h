#pragma once

#include <string>
#include <vector>

#include "unbraid/models/encoders/encoder.h"
#include "unbraid/models/kernels/fused_resnet.h"

namespace unbraid {

struct ResNetOptions {
  int64_t in_channels = 3;
  int64_t width = 64;       // channels of the first stage; the second has twice as many, …
  bool small_stem = false;  // for small images: 3x3 of stride 1 and no pooling, not 7x7 of stride 2
  bool fused = true;        // may use kernels::fused_resnet, which has no second-order gradients
  int64_t depth = 18;       // 18, 34 or, with bottleneck blocks of 4 times the channels, 50
  int64_t stages = 4;       // with fewer than 4 it ends there, without the average
};

/// ResNet (He et al., 2016) without its classifier: images [B, in_channels, H, W] or clips [B, N,
/// …], whose features are averaged → [B, 8 * width] (or 4 times as many), or with fewer stages maps
/// [B, C, H', W']. Parameters and buffers have torchvision's names. Where kernels::fused_resnet
/// applies it runs there and the features are float, under autocast too; else on LibTorch's
/// operators.
class ResNet : public Encoder {
 public:
  explicit ResNet(const ResNetOptions& options);
  torch::Tensor forward(const torch::Tensor& input) override;
  [[nodiscard]] int64_t feature_size() const override { return feature_size_; }
  [[nodiscard]] FeatureKind feature_kind() const override {
    return options_.stages < kStages ? FeatureKind::kMap : FeatureKind::kVector;
  }
  [[nodiscard]] std::string torchscript() const override;

  /// Of `type` "resnet" and a depth.
  static EncoderBuilder read(Options& options);

 private:
  static constexpr int64_t kStages = 4;

  torch::Tensor encode(torch::Tensor x);

  ResNetOptions options_;
  int64_t feature_size_;
  torch::nn::Conv2d conv1_{nullptr};
  torch::nn::BatchNorm2d bn1_{nullptr};
  std::vector<torch::nn::Sequential> layers_;
  std::vector<kernels::ResNetStage> fusible_;  // all of the above, where the kernels may have them
};

}  // namespace unbraid
