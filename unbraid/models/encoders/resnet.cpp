#include "unbraid/models/encoders/resnet.h"

#include <array>
#include <string>

namespace unbraid {
namespace {

torch::nn::Conv2d convolution(int64_t inputs, int64_t outputs, int64_t kernel, int64_t stride) {
  return torch::nn::Conv2d(torch::nn::Conv2dOptions(inputs, outputs, kernel)
                               .stride(stride)
                               .padding(kernel / 2)
                               .bias(false));
}

class BasicBlockImpl : public torch::nn::Module {
 public:
  BasicBlockImpl(int64_t inputs, int64_t outputs, int64_t stride)
      : conv1_(register_module("conv1", convolution(inputs, outputs, 3, stride))),
        bn1_(register_module("bn1", torch::nn::BatchNorm2d(outputs))),
        conv2_(register_module("conv2", convolution(outputs, outputs, 3, 1))),
        bn2_(register_module("bn2", torch::nn::BatchNorm2d(outputs))) {
    units_ = {{conv1_, bn1_}, {conv2_, bn2_}};
    if (stride != 1 || inputs != outputs) {
      units_.push_back({convolution(inputs, outputs, 1, stride), torch::nn::BatchNorm2d(outputs)});
      downsample_ = register_module("downsample",
                                    torch::nn::Sequential(units_[2].convolution, units_[2].norm));
    }
  }

  torch::Tensor forward(const torch::Tensor& x) {
    const torch::Tensor residual = downsample_ ? downsample_->forward(x) : x;
    const torch::Tensor hidden = torch::relu(bn1_->forward(conv1_->forward(x)));
    return torch::relu(bn2_->forward(conv2_->forward(hidden)) + residual);
  }

  [[nodiscard]] const std::vector<kernels::ConvolutionNorm>& units() const { return units_; }

 private:
  torch::nn::Conv2d conv1_;
  torch::nn::BatchNorm2d bn1_;
  torch::nn::Conv2d conv2_;
  torch::nn::BatchNorm2d bn2_;
  torch::nn::Sequential downsample_{nullptr};
  std::vector<kernels::ConvolutionNorm> units_;
};
TORCH_MODULE(BasicBlock);

}  // namespace

ResNet::ResNet(const ResNetOptions& options) : options_(options) {
  conv1_ = register_module("conv1", options.small_stem
                                        ? convolution(options.in_channels, options.width, 3, 1)
                                        : convolution(options.in_channels, options.width, 7, 2));
  bn1_ = register_module("bn1", torch::nn::BatchNorm2d(options.width));
  units_ = {{conv1_, bn1_}};
  int64_t inputs = options.width;
  for (int stage = 0; stage < 4; ++stage) {
    const int64_t outputs = options.width << stage;
    const std::array blocks{BasicBlock(inputs, outputs, stage == 0 ? 1 : 2),
                            BasicBlock(outputs, outputs, 1)};
    for (const BasicBlock& block : blocks) {
      units_.insert(units_.end(), block->units().begin(), block->units().end());
    }
    layers_.push_back(register_module("layer" + std::to_string(stage + 1),
                                      torch::nn::Sequential(blocks[0], blocks[1])));
    inputs = outputs;
  }
}

torch::Tensor ResNet::forward(const torch::Tensor& input) {
  return encode_frames(input, [this](const torch::Tensor& images) { return encode(images); });
}

torch::Tensor ResNet::encode(torch::Tensor x) {
  if (options_.fused && !options_.small_stem &&
      kernels::fused_resnet_applies(x, units_, is_training())) {
    return kernels::fused_resnet(x, units_, is_training());
  }
  if (x.device().is_cpu()) {
    x = x.contiguous(torch::MemoryFormat::ChannelsLast);
  }
  x = torch::relu(bn1_->forward(conv1_->forward(x)));
  if (!options_.small_stem) {
    x = torch::max_pool2d(x, 3, 2, 1);
  }
  for (torch::nn::Sequential& layer : layers_) {
    x = layer->forward(x);
  }
  return x.mean({2, 3});
}

EncoderBuilder ResNet::read(Options& options) {
  const ResNetOptions read{
      .in_channels = options.integer("in_channels", 3, {.min = 1, .max = 4096}),
      .width = options.integer("width", 64, {.min = 1, .max = 1024}),
      .small_stem = options.choice("stem", {"large", "small"}, "large") == "small",
  };
  return [read] { return std::make_shared<ResNet>(read); };
}

}  // namespace unbraid
