#pragma once

#include <string>
#include <vector>

#include "unbraid/models/encoders/encoder.h"

namespace unbraid {

/// A multilayer perceptron, [B, …] flattened to [B, layers.front()] → [B, layers.back()], with ReLU
/// after every layer but the last. Parameters: fc1.{weight,bias}, fc2.….
class Mlp : public Encoder {
 public:
  /// `layers` holds the input size, the hidden sizes and the feature size.
  explicit Mlp(std::vector<int64_t> layers);
  torch::Tensor forward(const torch::Tensor& input) override;
  [[nodiscard]] int64_t feature_size() const override { return layers_.back(); }
  [[nodiscard]] std::string torchscript() const override;

  static EncoderBuilder read(Options& options);

 private:
  std::vector<int64_t> layers_;
  std::vector<torch::nn::Linear> linears_;
};

}  // namespace unbraid
