#include "benchmarks/naive_models.h"

namespace unbraid::bench {
namespace {

constexpr int64_t kFeature = 512;

torch::nn::Conv2d convolution(int64_t inputs, int64_t outputs, int64_t kernel, int64_t stride) {
  return torch::nn::Conv2d(torch::nn::Conv2dOptions(inputs, outputs, kernel)
                               .stride(stride)
                               .padding(kernel / 2)
                               .bias(false));
}

class NaiveBlockImpl : public torch::nn::Module {
 public:
  NaiveBlockImpl(int64_t inputs, int64_t outputs, int64_t stride)
      : conv1_(register_module("conv1", convolution(inputs, outputs, 3, stride))),
        bn1_(register_module("bn1", torch::nn::BatchNorm2d(outputs))),
        conv2_(register_module("conv2", convolution(outputs, outputs, 3, 1))),
        bn2_(register_module("bn2", torch::nn::BatchNorm2d(outputs))) {
    if (stride != 1) {
      downsample_ = register_module("downsample",
                                    torch::nn::Sequential(convolution(inputs, outputs, 1, stride),
                                                          torch::nn::BatchNorm2d(outputs)));
    }
  }

  torch::Tensor forward(const torch::Tensor& x) {
    const torch::Tensor hidden = torch::relu(bn1_(conv1_(x)));
    torch::Tensor y = bn2_(conv2_(hidden));
    y += downsample_ ? downsample_->forward(x) : x;
    return torch::relu_(y);
  }

 private:
  torch::nn::Conv2d conv1_;
  torch::nn::BatchNorm2d bn1_;
  torch::nn::Conv2d conv2_;
  torch::nn::BatchNorm2d bn2_;
  torch::nn::Sequential downsample_{nullptr};
};
TORCH_MODULE(NaiveBlock);

}  // namespace

NaiveResNetImpl::NaiveResNetImpl(int64_t in_channels)
    : conv1_(register_module("conv1", convolution(in_channels, 64, 7, 2))),
      bn1_(register_module("bn1", torch::nn::BatchNorm2d(64))) {
  int64_t inputs = 64;
  for (int stage = 0; stage < 4; ++stage) {
    const int64_t outputs = int64_t{64} << stage;
    layers_.push_back(
        register_module("layer" + std::to_string(stage + 1),
                        torch::nn::Sequential(NaiveBlock(inputs, outputs, stage == 0 ? 1 : 2),
                                              NaiveBlock(outputs, outputs, 1))));
    inputs = outputs;
  }
}

torch::Tensor NaiveResNetImpl::forward(torch::Tensor x) {
  x = torch::max_pool2d(torch::relu(bn1_(conv1_(x))), 3, 2, 1);
  for (torch::nn::Sequential& layer : layers_) {
    x = layer->forward(x);
  }
  return torch::adaptive_avg_pool2d(x, {1, 1}).flatten(1);
}

NaiveFusionImpl::NaiveFusionImpl(const std::string& type, int64_t classes) : film_(type == "film") {
  if (film_) {
    fc_ = register_module("fc", torch::nn::Linear(kFeature * kFeature, kFeature));
  }
  fc_out_ = register_module("fc_out", torch::nn::Linear(film_ ? kFeature : 2 * kFeature, classes));
}

torch::Tensor NaiveFusionImpl::fused(const torch::Tensor& left, const torch::Tensor& right) {
  if (film_) {
    return fc_out_(fc_((left.unsqueeze(2) * right.unsqueeze(1)).flatten(1)));
  }
  return fc_out_(torch::cat({left, right}, 1));
}

torch::Tensor NaiveFusionImpl::alone(size_t modality, const torch::Tensor& feature) {
  if (film_) {
    return fused(feature, feature);
  }
  const torch::Tensor absent = torch::zeros_like(feature);
  return modality == 0 ? fused(feature, absent) : fused(absent, feature);
}

NaiveModel::NaiveModel(const std::string& fusion_type, int64_t classes)
    : root(std::make_shared<torch::nn::Module>()),
      audio(1),
      visual(3),
      fusion(fusion_type, classes) {
  auto encoders = root->register_module("encoders", std::make_shared<torch::nn::Module>());
  encoders->register_module("audio", audio);
  encoders->register_module("visual", visual);
  root->register_module("fusion", fusion);
}

}  // namespace unbraid::bench
