#include "unbraid/models/fusions/central.h"

#include "unbraid/models/script_source.h"

namespace unbraid {
namespace {

/// `depth` linear layers named 0, 1, …, all of which give `width` units.
std::vector<torch::nn::Linear> make_layers(torch::nn::Module& owner, int64_t inputs,
                                           const CentralFusionOptions& options) {
  std::vector<torch::nn::Linear> layers;
  for (int64_t stage = 0; stage < options.depth; ++stage) {
    layers.push_back(
        owner.register_module(std::to_string(stage), torch::nn::Linear(inputs, options.width)));
    inputs = options.width;
  }
  return layers;
}

}  // namespace

CentralFusion::CentralFusion(const FusionShape& shape, const CentralFusionOptions& options) {
  check_feature_kinds("central", shape, FeatureKind::kVector);
  check_names("central", shape, {"central", "mix", "fc_out"});
  const auto add = [&](const std::string& name, int64_t inputs) {
    return make_layers(*register_module(name, std::make_shared<torch::nn::Module>()), inputs,
                       options);
  };
  for (size_t m = 0; m < shape.modalities.size(); ++m) {
    branches_.push_back(add(shape.modalities[m], shape.feature_sizes.at(m)));
  }
  central_ = add("central", options.width);
  mix_ = register_parameter(
      "mix", torch::zeros({options.depth, 1 + static_cast<int64_t>(shape.modalities.size())}));
  fc_out_ = register_module("fc_out", torch::nn::Linear(options.width, shape.outputs));
}

torch::Tensor CentralFusion::fuse(const ModalityTensors& features, const Presence& presence) {
  const torch::Tensor weights = 1.0 + mix_;
  ModalityTensors hidden = features;
  torch::Tensor central;
  for (size_t stage = 0; stage < central_.size(); ++stage) {
    const torch::Tensor weight = weights[static_cast<int64_t>(stage)];
    torch::Tensor mixed = central.defined() ? central * weight[0] : central;
    for (size_t m = 0; m < hidden.size(); ++m) {
      if (!hidden[m].defined()) {
        continue;
      }
      hidden[m] = torch::relu(branches_[m][stage]->forward(hidden[m]));
      torch::Tensor part = hidden[m] * weight[1 + static_cast<int64_t>(m)];
      if (!presence.complete(m)) {
        part = part * presence.has(m, part).unsqueeze(1);
      }
      mixed = mixed.defined() ? mixed + part : part;
    }
    central = torch::relu(central_[stage]->forward(mixed));
  }
  return fc_out_->forward(central);
}

std::string CentralFusion::torchscript() const {
  script::Lines body;
  const auto children = named_children();
  body.add("weights = 1. + self.mix");
  for (size_t stage = 0; stage < central_.size(); ++stage) {
    body.add("parts{}: List[Tensor] = []", stage);
    if (stage > 0) {
      body.add("parts{}.append(central * weights[{}][0])", stage, stage);
    }
    for (size_t m = 0; m < branches_.size(); ++m) {
      const std::string z = fmt::format("z{}", m);
      body.add("if {} is not None:", z);
      body.add("  {} = torch.relu({})", z,
               script::linear(z, fmt::format("{}.{}", children[m].key(), stage)));
      body.add("  parts{}.append({} * weights[{}][{}])", stage, z, stage, 1 + m);
    }
    body.add("central = torch.sum(torch.stack(parts{}), [0])", stage);
    body.add("central = torch.relu({})",
             script::linear("central", fmt::format("central.{}", stage)));
  }
  body.add("return {}", script::linear("central", "fc_out"));
  return script::fusion(branches_.size(), body);
}

FusionBuilder CentralFusion::read(Options& options) {
  const CentralFusionOptions read{
      .width = options.integer("width", 128, {.min = 1, .max = 65536}),
      .depth = options.integer("depth", 2, {.min = 1, .max = 64}),
  };
  return [read](const FusionShape& shape) { return std::make_shared<CentralFusion>(shape, read); };
}

}  // namespace unbraid
