#include "unbraid/models/encoders/resnet.h"
#include "unbraid/models/encoders/resnet_blocks.h"
#include "unbraid/models/script_source.h"

namespace unbraid {
namespace {

std::string unit(const std::string& x, const torch::nn::detail::ConvNdOptions<2>& options,
                 const std::string& convolution, const std::string& norm) {
  return script::norm(script::convolution(x, convolution, options), norm);
}

const torch::nn::detail::ConvNdOptions<2>& options_of(const torch::nn::Module& convolution) {
  return convolution.as<torch::nn::Conv2d>()->options;
}

/// conv1, bn1, conv2, bn2 and so on with ReLU between, plus the input, which goes through
/// downsample.{0, 1} where that is there.
void add_block(script::Lines& body, const torch::nn::Module& block, const std::string& name) {
  const auto children = block.named_children();
  std::string residual = "x";
  if (const auto* downsample = children.find("downsample")) {
    residual = unit("x", options_of(*(*downsample)->named_children()["0"]), name + ".downsample.0",
                    name + ".downsample.1");
  }
  body.add("residual = {}", residual);
  for (int i = 1; const auto* convolution = children.find(fmt::format("conv{}", i)); ++i) {
    const std::string y = unit("x", options_of(**convolution), fmt::format("{}.conv{}", name, i),
                               fmt::format("{}.bn{}", name, i));
    const bool last = !children.contains(fmt::format("conv{}", i + 1));
    body.add("x = torch.relu({}{})", y, last ? " + residual" : "");
  }
}

}  // namespace

void add_stage_script(script::Lines& body, const torch::nn::Sequential& stage,
                      const std::string& name) {
  for (const auto& block : stage->named_children()) {
    add_block(body, *block.value(), fmt::format("{}.{}", name, block.key()));
  }
}

std::string ResNet::torchscript() const {
  script::Lines body;
  body.add("x = torch.relu({})", unit("x", conv1_->options, "conv1", "bn1"));
  if (!options_.small_stem) {
    body.add("x = torch.max_pool2d(x, [3, 3], [2, 2], [1, 1])");
  }
  for (size_t i = 0; i < layers_.size(); ++i) {
    add_stage_script(body, layers_[i], fmt::format("layer{}", i + 1));
  }
  if (feature_kind() == FeatureKind::kVector) {
    body.add("x = torch.mean(x, [2, 3])");
  }
  return script::over_frames(body);
}

}  // namespace unbraid
