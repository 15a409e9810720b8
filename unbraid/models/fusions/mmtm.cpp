#include "unbraid/models/fusions/mmtm.h"

#include <numeric>

#include <fmt/format.h>

#include "unbraid/models/encoders/resnet_blocks.h"
#include "unbraid/models/script_source.h"

namespace unbraid {
namespace {

constexpr int64_t kStagesOfResNet = 4;

}  // namespace

MmtmFusion::MmtmFusion(const FusionShape& shape, const MmtmFusionOptions& options) {
  check_feature_kinds("mmtm", shape, FeatureKind::kMap);
  std::vector<std::shared_ptr<torch::nn::Module>> networks;
  for (const std::string& name : shape.modalities) {
    if (name.starts_with("mmtm")) {
      throw RecipeError(fmt::format("[mmtm] expected another name for the modality {}", name));
    }
    networks.push_back(register_module(name, std::make_shared<torch::nn::Module>()));
  }
  std::vector<int64_t> channels = shape.feature_sizes;
  for (int64_t k = kStagesOfResNet - options.stages + 1; k <= kStagesOfResNet; ++k) {
    stages_.emplace_back();
    for (size_t m = 0; m < channels.size(); ++m) {
      stages_.back().push_back(networks[m]->register_module(
          fmt::format("layer{}", k),
          make_stage(channels[m], 2 * channels[m], options.blocks, /*stride=*/2)));
      channels[m] *= 2;
    }
    const int64_t all = std::accumulate(channels.begin(), channels.end(), int64_t{0});
    const int64_t joint = std::max<int64_t>(1, all / options.ratio);
    const auto module =
        register_module(fmt::format("mmtm{}", k), std::make_shared<torch::nn::Module>());
    Transfer transfer;
    transfer.squeeze = module->register_module("squeeze", torch::nn::Linear(all, joint));
    for (size_t m = 0; m < channels.size(); ++m) {
      transfer.excite.push_back(module->register_module("excite_" + shape.modalities[m],
                                                        torch::nn::Linear(joint, channels[m])));
    }
    transfers_.push_back(std::move(transfer));
  }
  for (size_t m = 0; m < channels.size(); ++m) {
    heads_.push_back(
        networks[m]->register_module("fc", torch::nn::Linear(channels[m], shape.outputs)));
  }
}

torch::Tensor MmtmFusion::fuse(const ModalityTensors& features, const Presence& presence) {
  ModalityTensors maps(features.size());  // packed: no network runs for samples that lack its input
  for (size_t m = 0; m < features.size(); ++m) {
    if (features[m].defined()) {
      maps[m] = presence.complete() ? features[m] : presence.pack(features[m], m);
    }
  }
  for (size_t stage = 0; stage < stages_.size(); ++stage) {
    for (size_t m = 0; m < maps.size(); ++m) {
      if (maps[m].defined()) {
        maps[m] = stages_[stage][m]->forward(maps[m]);
      }
    }
    exchange(transfers_[stage], maps, presence);
  }
  torch::Tensor total;
  torch::Tensor count;
  for (size_t m = 0; m < maps.size(); ++m) {
    if (!maps[m].defined()) {
      continue;
    }
    const torch::Tensor logits = presence.spread(heads_[m]->forward(maps[m].mean({2, 3})), m);
    const torch::Tensor has = presence.complete()
                                  ? torch::ones({logits.size(0)}, logits.options())
                                  : presence.has(m, logits).to(logits.scalar_type());
    total = total.defined() ? total + logits : logits;
    count = count.defined() ? count + has : has;
  }
  return total / count.unsqueeze(1);
}

void MmtmFusion::exchange(Transfer& transfer, ModalityTensors& maps, const Presence& presence) {
  torch::Tensor joint = transfer.squeeze->bias;
  int64_t offset = 0;
  for (size_t m = 0; m < maps.size(); ++m) {
    const int64_t channels = transfer.excite[m]->weight.size(0);
    if (maps[m].defined()) {
      const torch::Tensor squeezed = presence.spread(maps[m].mean({2, 3}), m);
      joint = joint + torch::linear(squeezed, transfer.squeeze->weight.narrow(1, offset, channels));
    }
    offset += channels;
  }
  joint = torch::relu(joint);
  for (size_t m = 0; m < maps.size(); ++m) {
    if (maps[m].defined()) {
      const torch::Tensor gate =
          2 * torch::sigmoid(presence.pack(transfer.excite[m]->forward(joint), m));
      maps[m] = maps[m] * gate.unsqueeze(2).unsqueeze(3);
    }
  }
}

std::string MmtmFusion::torchscript() const {
  script::Lines body;
  const auto children = named_children();
  const size_t modalities = heads_.size();
  for (size_t stage = 0; stage < stages_.size(); ++stage) {
    const size_t k = size_t{kStagesOfResNet} - stages_.size() + stage + 1;
    const Transfer& transfer = transfers_[stage];
    body.add("joint = self.mmtm{}.squeeze.bias", k);
    int64_t offset = 0;
    for (size_t m = 0; m < modalities; ++m) {
      const int64_t channels = transfer.excite[m]->weight.size(0);
      script::Lines network;
      network.add("x = z{}", m);
      add_stage_script(network, stages_[stage][m], fmt::format("{}.layer{}", children[m].key(), k));
      network.add("z{} = x", m);
      network.add(
          "joint = joint + torch.linear(torch.mean(x, [2, 3]), "
          "torch.narrow(self.mmtm{}.squeeze.weight, 1, {}, {}))",
          k, offset, channels);
      body.add_under(fmt::format("if z{} is not None:", m), network);
      offset += channels;
    }
    body.add("joint = torch.relu(joint)");
    for (size_t m = 0; m < modalities; ++m) {
      body.add("if z{} is not None:", m);
      body.add("  gate = 2. * torch.sigmoid({})",
               script::linear("joint", fmt::format("mmtm{}.excite_{}", k, children[m].key())));
      body.add("  z{} = z{} * torch.unsqueeze(torch.unsqueeze(gate, 2), 3)", m, m);
    }
  }
  body.add("outputs: List[Tensor] = []");
  for (size_t m = 0; m < modalities; ++m) {
    body.add("if z{} is not None:", m);
    body.add("  outputs.append({})",
             script::linear(fmt::format("torch.mean(z{}, [2, 3])", m), children[m].key() + ".fc"));
  }
  body.add("return torch.mean(torch.stack(outputs), [0])");
  return script::fusion(modalities, body);
}

FusionBuilder MmtmFusion::read(Options& options) {
  const MmtmFusionOptions read{
      .stages = options.integer("stages", 2, {.min = 1, .max = 4}),
      .blocks = options.integer("blocks", 2, {.min = 1, .max = 64}),
      .ratio = options.integer("ratio", 4, {.min = 1, .max = 1024}),
  };
  return [read](const FusionShape& shape) { return std::make_shared<MmtmFusion>(shape, read); };
}

}  // namespace unbraid
