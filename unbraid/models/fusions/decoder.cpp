#include "unbraid/models/fusions/decoder.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "unbraid/models/script_source.h"

namespace unbraid {
namespace {

constexpr size_t kMostBlocks = 8;

torch::Tensor resized(const torch::Tensor& maps, const std::vector<int64_t>& size) {
  return maps.sizes().slice(2) == torch::IntArrayRef(size)
             ? maps
             : torch::upsample_bilinear2d(maps, size, /*align_corners=*/false);
}

torch::nn::Conv2d pointwise(int64_t inputs, int64_t outputs) {
  return torch::nn::Conv2d(torch::nn::Conv2dOptions(inputs, outputs, 1));
}

}  // namespace

DecoderFusion::DecoderFusion(const FusionShape& shape, const std::vector<int64_t>& channels)
    : start_(shape.map) {
  check_feature_kinds("decoder", shape, FeatureKind::kMap, FeatureKind::kMap);
  const size_t blocks = channels.size() - 1;
  for (int64_t& side : start_) {
    const int64_t factor = int64_t{1} << blocks;
    if (side % factor != 0) {
      throw RecipeError(
          fmt::format("[decoder] {} blocks double the size {} times, so the sides of the output "
                      "have to be multiples of {}, got {} x {}; see task.size and fusion.channels",
                      blocks, blocks, factor, shape.map[0], shape.map[1]));
    }
    side /= factor;
  }
  for (size_t m = 0; m < shape.modalities.size(); ++m) {
    projections_.push_back(register_module("project_" + shape.modalities[m],
                                           pointwise(shape.feature_sizes.at(m), channels[0])));
  }
  for (size_t i = 1; i <= blocks; ++i) {
    const auto options =
        torch::nn::Conv2dOptions(channels[i - 1], channels[i], 3).padding(1).bias(false);
    convolutions_.push_back(register_module(fmt::format("conv{}", i), torch::nn::Conv2d(options)));
    norms_.push_back(register_module(fmt::format("bn{}", i), torch::nn::BatchNorm2d(channels[i])));
  }
  out_ = register_module("out", pointwise(channels.back(), shape.outputs));
}

torch::Tensor DecoderFusion::fuse(const ModalityTensors& features, const Presence& presence) {
  torch::Tensor x;
  for (size_t m = 0; m < projections_.size(); ++m) {
    if (!features.at(m).defined()) {
      continue;
    }
    torch::Tensor maps = resized(projections_[m]->forward(features[m]), start_);
    if (!presence.complete(m)) {
      maps = maps * presence.has(m, maps).view({-1, 1, 1, 1});
    }
    x = x.defined() ? x + maps : maps;
  }
  for (size_t i = 0; i < convolutions_.size(); ++i) {
    x = resized(x, {2 * x.size(2), 2 * x.size(3)});
    x = torch::relu(norms_[i]->forward(convolutions_[i]->forward(x)));
  }
  return out_->forward(x);
}

std::string DecoderFusion::torchscript() const {
  script::Lines body;
  body.add("parts: List[Tensor] = []");
  const auto children = named_children();
  for (size_t m = 0; m < projections_.size(); ++m) {
    body.add("if z{} is not None:", m);
    body.add(
        "  parts.append(torch.upsample_bilinear2d({}, [{}], False))",
        script::convolution(fmt::format("z{}", m), children[m].key(), projections_[m]->options),
        fmt::join(start_, ", "));
  }
  body.add("x = torch.sum(torch.stack(parts), [0])");
  for (size_t i = 1; i <= convolutions_.size(); ++i) {
    body.add("x = torch.upsample_bilinear2d(x, [2 * x.size(2), 2 * x.size(3)], False)");
    body.add("x = torch.relu({})", script::norm(script::convolution("x", fmt::format("conv{}", i),
                                                                    convolutions_[i - 1]->options),
                                                fmt::format("bn{}", i)));
  }
  body.add("return {}", script::convolution("x", "out", out_->options));
  return script::fusion(projections_.size(), body);
}

FusionBuilder DecoderFusion::read(Options& options) {
  const auto channels = options.integers("channels", std::vector<int64_t>{64, 32, 16, 16},
                                         {.min = 1, .max = 1 << 16});
  if (channels.empty() || channels.size() > kMostBlocks + 1) {
    throw options.error(
        "channels",
        fmt::format("expected 1 to {} numbers: of the sum and of each block", kMostBlocks + 1));
  }
  return [=](const FusionShape& shape) { return std::make_shared<DecoderFusion>(shape, channels); };
}

}  // namespace unbraid
