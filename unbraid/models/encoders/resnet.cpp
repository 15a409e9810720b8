#include "unbraid/models/encoders/resnet.h"

#include <string>

#include "unbraid/models/encoders/resnet_blocks.h"

namespace unbraid {
namespace {

/// The convolutions in `module` with the norm that follows each.
std::vector<kernels::ConvolutionNorm> units_of(const torch::nn::Module& module) {
  std::vector<kernels::ConvolutionNorm> units;
  for (const auto& part : module.modules(false)) {
    if (const auto convolution = std::dynamic_pointer_cast<torch::nn::Conv2dImpl>(part)) {
      units.push_back({convolution, nullptr});
    } else if (const auto norm = std::dynamic_pointer_cast<torch::nn::BatchNorm2dImpl>(part)) {
      units.back().norm = norm;
    }
  }
  return units;
}

}  // namespace

ResNet::ResNet(const ResNetOptions& options) : options_(options) {
  conv1_ = register_module(
      "conv1", options.small_stem ? make_convolution(options.in_channels, options.width, 3, 1)
                                  : make_convolution(options.in_channels, options.width, 7, 2));
  bn1_ = register_module("bn1", torch::nn::BatchNorm2d(options.width));
  int64_t inputs = options.width;
  for (int stage = 0; stage < 4; ++stage) {
    const int64_t outputs = options.width << stage;
    layers_.push_back(register_module("layer" + std::to_string(stage + 1),
                                      make_stage(inputs, outputs, 2, stage == 0 ? 1 : 2)));
    inputs = outputs;
  }
  units_ = units_of(*this);
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
