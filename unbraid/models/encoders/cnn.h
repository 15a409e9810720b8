#pragma once

#include <string>
#include <vector>

#include "unbraid/models/encoders/encoder.h"

namespace unbraid {

/// A small convolutional network: 3x3 convolutions of stride 2, each with BatchNorm and ReLU, then
/// the global average. [B, in_channels, H, W] or [B, N, …] → [B, channels.back()]. With `maps`
/// without the average, each layer halving height and width (rounded up): → [B, channels.back(), h,
/// w]. Parameters:
/// conv1.weight, bn1.{weight,bias,running_mean,running_var,num_batches_tracked}, conv2.….
class Cnn : public Encoder {
 public:
  Cnn(int64_t in_channels, std::vector<int64_t> channels, bool maps = false);
  torch::Tensor forward(const torch::Tensor& input) override;
  [[nodiscard]] int64_t feature_size() const override { return channels_.back(); }
  [[nodiscard]] FeatureKind feature_kind() const override {
    return maps_ ? FeatureKind::kMap : FeatureKind::kVector;
  }
  [[nodiscard]] std::string torchscript() const override;

  static EncoderBuilder read(Options& options);

 private:
  std::vector<int64_t> channels_;
  bool maps_;
  std::vector<torch::nn::Conv2d> convolutions_;
  std::vector<torch::nn::BatchNorm2d> norms_;
};

}  // namespace unbraid
