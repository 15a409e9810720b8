#pragma once

#include <string>
#include <vector>

#include "unbraid/models/encoders/encoder.h"
#include "unbraid/models/kernels/fused_resnet.h"

namespace unbraid {

struct ResNetOptions {
  int64_t in_channels = 3;
  int64_t width = 64;       // channels of the first stage; the feature has 8 times as many
  bool small_stem = false;  // for small images: 3x3 of stride 1 and no pooling, not 7x7 of stride 2
  bool fused = true;        // may use kernels::fused_resnet, which has no second-order gradients
};

/// ResNet-18 (He et al., 2016) without its classifier: [B, in_channels, H, W] or [B, N, …] → [B, 8
/// * width]. Parameters and buffers have torchvision's names. Where kernels::fused_resnet applies
/// it runs there and the features are float, under autocast too; else on LibTorch's operators.
class ResNet : public Encoder {
 public:
  explicit ResNet(const ResNetOptions& options);
  torch::Tensor forward(const torch::Tensor& input) override;
  [[nodiscard]] int64_t feature_size() const override { return 8 * options_.width; }
  [[nodiscard]] std::string torchscript() const override;

  static EncoderBuilder read(Options& options);

 private:
  torch::Tensor encode(torch::Tensor x);

  ResNetOptions options_;
  torch::nn::Conv2d conv1_{nullptr};
  torch::nn::BatchNorm2d bn1_{nullptr};
  std::vector<torch::nn::Sequential> layers_;
  std::vector<kernels::ConvolutionNorm> units_;  // all of the above, for kernels::fused_resnet
};

}  // namespace unbraid
