#include "unbraid/models/fusions/sum.h"

#include "unbraid/models/script_source.h"

namespace unbraid {

SumFusion::SumFusion(const FusionShape& shape) {
  check_feature_kinds("sum", shape, FeatureKind::kVector);
  for (size_t m = 0; m < shape.modalities.size(); ++m) {
    branches_.push_back(register_module(
        "fc_" + shape.modalities[m], torch::nn::Linear(shape.feature_sizes.at(m), shape.outputs)));
  }
}

torch::Tensor SumFusion::fuse(const ModalityTensors& features, const Presence& presence) {
  torch::Tensor total;
  for (size_t m = 0; m < branches_.size(); ++m) {
    if (features.at(m).defined()) {
      torch::Tensor branch = branches_[m]->forward(features[m]);
      if (!presence.complete(m)) {
        branch = branch * presence.has(m, branch).unsqueeze(1);
      }
      total = total.defined() ? total + branch : branch;
    }
  }
  return total;
}

torch::Tensor SumFusion::weight_of(size_t modality) const { return branches_.at(modality)->weight; }

std::string SumFusion::torchscript() const {
  script::Lines body;
  body.add("present: List[Tensor] = []");
  size_t m = 0;
  for (const auto& branch : named_children()) {
    body.add("if z{} is not None:", m);
    body.add("  present.append({})", script::linear(fmt::format("z{}", m), branch.key()));
    ++m;
  }
  body.add("return torch.sum(torch.stack(present), [0])");
  return script::fusion(m, body);
}

FusionBuilder SumFusion::read(Options& /*options*/) {
  return [](const FusionShape& shape) { return std::make_shared<SumFusion>(shape); };
}

}  // namespace unbraid
