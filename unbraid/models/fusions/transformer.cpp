#include "unbraid/models/fusions/transformer.h"

#include "unbraid/models/script_source.h"

namespace unbraid {
namespace {

torch::Tensor embedding(std::vector<int64_t> sizes) { return 0.02 * torch::randn(sizes); }

/// A feature of any kind as tokens [B, T, d].
torch::Tensor as_tokens(const torch::Tensor& feature) {
  if (feature.dim() == 2) {
    return feature.unsqueeze(1);
  }
  return feature.dim() == 4 ? feature.flatten(2).transpose(1, 2) : feature;
}

/// [B, T] bool: which tokens of `feature` there are to attend to.
torch::Tensor existing(const torch::Tensor& feature, int64_t tokens, size_t modality,
                       const Presence& presence) {
  if (feature.dim() == 3) {
    return feature.ne(0).any(2);
  }
  const torch::Tensor has =
      presence.complete() ? torch::ones({feature.size(0)}, feature.options().dtype(torch::kBool))
                          : presence.has(modality, feature);
  return has.unsqueeze(1).expand({-1, tokens});
}

}  // namespace

TransformerFusion::TransformerFusion(const FusionShape& shape,
                                     const TransformerFusionOptions& options)
    : names_(shape.modalities) {
  check_output("transformer", shape, FeatureKind::kVector);
  check_names("transformer", shape, {"out"});
  for (size_t m = 0; m < shape.modalities.size(); ++m) {
    projections_.push_back(
        register_module("fc_" + shape.modalities[m],
                        torch::nn::Linear(shape.feature_sizes.at(m), options.block.width)));
    modality_.push_back(
        register_parameter("modality_" + shape.modalities[m], embedding({options.block.width})));
  }
  position_ = register_parameter("position", embedding({options.max_tokens, options.block.width}));
  class_token_ = register_parameter("class_token", embedding({options.block.width}));
  blocks_ = register_module("blocks", TransformerBlocks(options.depth, options.block));
  norm_ = register_module("norm", make_layer_norm(options.block.width));
  fc_out_ = register_module("fc_out", torch::nn::Linear(options.block.width, shape.outputs));
}

torch::Tensor TransformerFusion::fuse(const ModalityTensors& features, const Presence& presence) {
  std::vector<torch::Tensor> tokens(1);  // the class token's place
  std::vector<torch::Tensor> attended(1);
  bool all_exist = presence.complete();
  for (size_t m = 0; m < features.size(); ++m) {
    if (!features[m].defined()) {
      continue;
    }
    const torch::Tensor own = projections_.at(m)->forward(as_tokens(features[m]));
    TORCH_CHECK(own.size(1) <= position_.size(0), "[transformer] expected at most ",
                position_.size(0), " tokens (fusion.max_tokens), got ", own.size(1), " of ",
                names_[m]);
    tokens.push_back(own + position_.narrow(0, 0, own.size(1)) + modality_[m]);
    attended.push_back(existing(features[m], own.size(1), m, presence));
    all_exist = all_exist && (features[m].dim() != 3 || attended.back().all().item<bool>());
  }
  const int64_t samples = tokens.back().size(0);
  tokens[0] = class_token_.to(tokens.back().scalar_type()).expand({samples, 1, -1});
  attended[0] = torch::ones({samples, 1}, attended.back().options());
  const torch::Tensor mask = all_exist ? torch::Tensor() : torch::cat(attended, 1);
  const torch::Tensor x = blocks_->forward(torch::cat(tokens, 1), mask, 1);
  return fc_out_->forward(norm_->forward(x.squeeze(1)));
}

std::string TransformerFusion::torchscript() const {
  script::Lines body;
  body.add("tokens: List[Tensor] = []");
  body.add("attended: List[Tensor] = []");
  for (size_t m = 0; m < names_.size(); ++m) {
    body.add("if z{} is not None:", m);
    body.add("  y = z{}", m);
    body.add("  sequence = y.dim() == 3");
    body.add("  if y.dim() == 2:");
    body.add("    y = torch.unsqueeze(y, 1)");
    body.add("  if y.dim() == 4:");
    body.add("    y = torch.transpose(torch.flatten(y, 2), 1, 2)");
    body.add("  exist = torch.any(torch.ne(y, 0), 2)");
    body.add("  if not sequence:");
    body.add("    exist = torch.logical_or(exist, torch.logical_not(exist))");
    body.add("  attended.append(exist)");
    body.add("  y = {}", script::linear("y", "fc_" + names_[m]));
    body.add("  y = y + torch.narrow(self.position, 0, 0, y.size(1))");
    body.add("  tokens.append(y + self.modality_{})", names_[m]);
  }
  body.add("x = torch.cat(tokens, 1)");
  body.add("x = torch.cat([self.class_token.expand([x.size(0), 1, -1]), x], 1)");
  body.add("mask = torch.cat(attended, 1)");
  body.add("first = torch.narrow(mask, 1, 0, 1)");
  body.add("mask = torch.cat([torch.logical_or(first, torch.logical_not(first)), mask], 1)");
  blocks_->add_script(body, "blocks", true);
  body.add("x = {}", script::layer_norm("torch.select(x, 1, 0)", "norm", norm_->options));
  body.add("return {}", script::linear("x", "fc_out"));
  return script::fusion(names_.size(), body);
}

FusionBuilder TransformerFusion::read(Options& options) {
  const TransformerFusionOptions read{
      .block = read_transformer_block(options, TransformerFusionOptions().block),
      .depth = options.integer("depth", 2, {.min = 1, .max = 256}),
      .max_tokens = options.integer("max_tokens", 512, {.min = 1, .max = 1 << 20}),
  };
  return
      [read](const FusionShape& shape) { return std::make_shared<TransformerFusion>(shape, read); };
}

}  // namespace unbraid
