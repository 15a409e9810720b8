#pragma once

#include <memory>
#include <string>

#include "unbraid/core/batch.h"
#include "unbraid/core/torch.h"

namespace unbraid::bench {

/// ResNet-18 from LibTorch's own layers, with torchvision's names: [B, C, H, W] → [B, 512].
class NaiveResNetImpl : public torch::nn::Module {
 public:
  explicit NaiveResNetImpl(int64_t in_channels);
  torch::Tensor forward(torch::Tensor x);

 private:
  torch::nn::Conv2d conv1_;
  torch::nn::BatchNorm2d bn1_;
  std::vector<torch::nn::Sequential> layers_;
};
TORCH_MODULE(NaiveResNet);

/// Concat or FiLM as the DGL reference computes them: absent features are zeros that are
/// multiplied, the outer product is in memory.
class NaiveFusionImpl : public torch::nn::Module {
 public:
  NaiveFusionImpl(const std::string& type, int64_t classes);
  torch::Tensor fused(const torch::Tensor& left, const torch::Tensor& right);
  torch::Tensor alone(size_t modality, const torch::Tensor& feature);

 private:
  bool film_;
  torch::nn::Linear fc_{nullptr};
  torch::nn::Linear fc_out_{nullptr};
};
TORCH_MODULE(NaiveFusion);

/// Encoders and fusion under the names of the library, so that weights are drawn equal.
struct NaiveModel {
  NaiveModel(const std::string& fusion_type, int64_t classes);

  std::shared_ptr<torch::nn::Module> root;
  NaiveResNet audio;
  NaiveResNet visual;
  NaiveFusion fusion;
};

}  // namespace unbraid::bench
