#pragma once

#include <string>
#include <vector>

#include "unbraid/models/encoders/encoder.h"

namespace unbraid {

/// A convolutional network over time for sequences of feature vectors: convolutions of 3 steps and
/// stride 2, each with BatchNorm and ReLU, then the mean over time. [B, T, in_features] →
/// [B, channels.back()], or with `tokens` without the mean, [B, ceil(T / 2^layers),
/// channels.back()]. Parameters: conv1.weight,
/// bn1.{weight,bias,running_mean,running_var,num_batches_tracked}, conv2.….
class SequenceCnn : public Encoder {
 public:
  SequenceCnn(int64_t in_features, std::vector<int64_t> channels, bool tokens = false);
  torch::Tensor forward(const torch::Tensor& input) override;
  [[nodiscard]] int64_t feature_size() const override { return channels_.back(); }
  [[nodiscard]] FeatureKind feature_kind() const override {
    return tokens_ ? FeatureKind::kTokens : FeatureKind::kVector;
  }
  [[nodiscard]] std::string torchscript() const override;

  static EncoderBuilder read(Options& options);

 private:
  int64_t in_features_;
  std::vector<int64_t> channels_;
  bool tokens_;
  std::vector<torch::nn::Conv1d> convolutions_;
  std::vector<torch::nn::BatchNorm1d> norms_;
};

}  // namespace unbraid
