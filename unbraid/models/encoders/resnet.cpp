#include "unbraid/models/encoders/resnet.h"

#include <algorithm>
#include <array>
#include <string>

#include "unbraid/models/encoders/resnet_blocks.h"

namespace unbraid {
namespace {

struct Depth {
  int64_t depth;
  ResNetBlock block;
  std::array<int64_t, 4> blocks;
};

constexpr std::array kDepths{
    Depth{18, ResNetBlock::kBasic, {2, 2, 2, 2}},
    Depth{34, ResNetBlock::kBasic, {3, 4, 6, 3}},
    Depth{50, ResNetBlock::kBottleneck, {3, 4, 6, 3}},
};

const Depth& find_depth(int64_t depth) {
  const auto* found = std::find_if(kDepths.begin(), kDepths.end(),
                                   [&](const Depth& one) { return one.depth == depth; });
  TORCH_CHECK(found != kDepths.end(), "[resnet] expected a depth of 18, 34 or 50, got ", depth);
  return *found;
}

/// Adds the convolutions in `module`, each with the norm that follows it.
void add_units(const torch::nn::Module& module, kernels::ResNetStage& units) {
  for (const auto& part : module.modules(false)) {
    if (const auto convolution = std::dynamic_pointer_cast<torch::nn::Conv2dImpl>(part)) {
      units.push_back({convolution, nullptr});
    } else if (const auto norm = std::dynamic_pointer_cast<torch::nn::BatchNorm2dImpl>(part)) {
      units.back().norm = norm;
    }
  }
}

}  // namespace

ResNet::ResNet(const ResNetOptions& options) : options_(options) {
  TORCH_CHECK(options.stages >= 1 && options.stages <= kStages,
              "[resnet] expected 1 to 4 stages, got ", options.stages);
  const Depth& depth = find_depth(options.depth);
  conv1_ = register_module(
      "conv1", options.small_stem ? make_convolution(options.in_channels, options.width, 3, 1)
                                  : make_convolution(options.in_channels, options.width, 7, 2));
  bn1_ = register_module("bn1", torch::nn::BatchNorm2d(options.width));
  feature_size_ = options.width;
  for (int64_t stage = 0; stage < options.stages; ++stage) {
    const int64_t outputs =
        options.width * (int64_t{1} << stage) * (depth.block == ResNetBlock::kBottleneck ? 4 : 1);
    layers_.push_back(
        register_module("layer" + std::to_string(stage + 1),
                        make_stage(feature_size_, outputs, depth.blocks[static_cast<size_t>(stage)],
                                   stage == 0 ? 1 : 2, depth.block)));
    feature_size_ = outputs;
  }
  if (options.fused && !options.small_stem && depth.block == ResNetBlock::kBasic) {
    for (const torch::nn::Sequential& layer : layers_) {
      fusible_.push_back(fusible_.empty() ? kernels::ResNetStage{{conv1_, bn1_}}
                                          : kernels::ResNetStage());
      add_units(*layer, fusible_.back());
    }
  }
}

torch::Tensor ResNet::forward(const torch::Tensor& input) {
  return encode_frames(input, [this](const torch::Tensor& images) { return encode(images); });
}

torch::Tensor ResNet::encode(torch::Tensor x) {
  const bool averages = options_.stages == kStages;
  if (!fusible_.empty() && kernels::fused_resnet_applies(x, fusible_, is_training())) {
    return kernels::fused_resnet(x, fusible_, averages, is_training());
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
  return averages ? x.mean({2, 3}) : x;
}

EncoderBuilder ResNet::read(Options& options) {
  const ResNetOptions read{
      .in_channels = options.integer("in_channels", 3, {.min = 1, .max = 4096}),
      .width = options.integer("width", 64, {.min = 1, .max = 1024}),
      .small_stem = options.choice("stem", {"large", "small"}, "large") == "small",
      .depth = std::stoll(options.text("type").substr(std::string_view("resnet").size())),
      .stages = options.integer("stages", kStages, {.min = 1, .max = kStages}),
  };
  return [read] { return std::make_shared<ResNet>(read); };
}

}  // namespace unbraid
