#include "unbraid/models/encoders/vision_transformer.h"

#include <fmt/format.h>

#include "unbraid/models/script_source.h"

namespace unbraid {
namespace {

int64_t patches_of(const VisionTransformerOptions& options) {
  return (options.image_size[0] / options.patch) * (options.image_size[1] / options.patch);
}

}  // namespace

VisionTransformer::VisionTransformer(const VisionTransformerOptions& options)
    : options_(options),
      cls_token_(register_parameter("cls_token", torch::zeros({1, 1, options.block.width}))),
      pos_embed_(register_parameter(
          "pos_embed", torch::zeros({1, 1 + patches_of(options), options.block.width}))),
      proj_(torch::nn::Conv2dOptions(options.in_channels, options.block.width, options.patch)
                .stride(options.patch)),
      blocks_(nullptr),
      norm_(nullptr) {
  register_module("patch_embed", std::make_shared<torch::nn::Module>())
      ->register_module("proj", proj_);
  blocks_ = register_module("blocks", TransformerBlocks(options.depth, options.block));
  norm_ = register_module("norm", make_layer_norm(options.block.width));
}

torch::Tensor VisionTransformer::forward(const torch::Tensor& input) {
  return encode_frames(input, [this](const torch::Tensor& images) { return encode(images); });
}

torch::Tensor VisionTransformer::encode(const torch::Tensor& images) {
  const auto [height, width] = options_.image_size;
  TORCH_CHECK(
      images.size(1) == options_.in_channels && images.size(2) == height && images.size(3) == width,
      "[vit] expected images [B, ", options_.in_channels, ", ", height, ", ", width,
      "] as in_channels and image_size say, got ", images.sizes());
  const torch::Tensor patches = proj_->forward(images).flatten(2).transpose(1, 2);
  const torch::Tensor cls_token = cls_token_.expand({images.size(0), -1, -1});
  const torch::Tensor tokens = torch::cat({cls_token, patches}, 1) + pos_embed_;
  return norm_->forward(options_.tokens ? blocks_->forward(tokens)
                                        : blocks_->forward(tokens, {}, 1).squeeze(1));
}

std::string VisionTransformer::torchscript() const {
  script::Lines body;
  body.add("x = {}", script::convolution("x", "patch_embed.proj", proj_->options));
  body.add("x = torch.transpose(torch.flatten(x, 2), 1, 2)");
  body.add("x = torch.cat([self.cls_token.expand([x.size(0), -1, -1]), x], 1) + self.pos_embed");
  blocks_->add_script(body, "blocks");
  body.add("x = {}", script::layer_norm(options_.tokens ? "x" : "torch.select(x, 1, 0)", "norm",
                                        norm_->options));
  return script::over_frames(body);
}

EncoderBuilder VisionTransformer::read(Options& options) {
  constexpr Range kSizes{.min = 1, .max = 1 << 14};
  VisionTransformerOptions read;
  if (options.is_list("image_size")) {
    const auto sizes = options.integers("image_size", std::nullopt, kSizes);
    if (sizes.size() != read.image_size.size()) {
      throw options.error("image_size", fmt::format("expected a number or height and width, got {} "
                                                    "numbers",
                                                    sizes.size()));
    }
    read.image_size = {sizes[0], sizes[1]};
  } else {
    read.image_size.fill(options.integer("image_size", read.image_size[0], kSizes));
  }
  read.patch = options.integer("patch", read.patch, kSizes);
  for (const int64_t size : read.image_size) {
    if (size % read.patch != 0) {
      throw options.error(
          "image_size", fmt::format("expected multiples of patch ({}), got {}", read.patch, size));
    }
  }
  read.in_channels = options.integer("in_channels", read.in_channels, {.min = 1, .max = 4096});
  read.depth = options.integer("depth", read.depth, {.min = 1, .max = 1000});
  read.block = read_transformer_block(options, read.block);
  read.tokens = options.boolean("tokens", false);
  return [read] { return std::make_shared<VisionTransformer>(read); };
}

}  // namespace unbraid
