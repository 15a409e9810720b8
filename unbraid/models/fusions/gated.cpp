#include "unbraid/models/fusions/gated.h"

#include "unbraid/models/script_source.h"

namespace unbraid {

GatedFusion::GatedFusion(const FusionShape& shape, bool released) : released_(released) {
  check_at_most_two("gated", shape);
  check_feature_kinds("gated", shape, FeatureKind::kVector);
  check_names("gated", shape, {"out"});
  const int64_t size = shape.feature_sizes.front();
  for (size_t m = 0; m < shape.modalities.size(); ++m) {
    projections_.push_back(register_module("fc_" + shape.modalities[m],
                                           torch::nn::Linear(shape.feature_sizes.at(m), size)));
  }
  fc_out_ = register_module("fc_out", torch::nn::Linear(size, shape.outputs));
}

torch::Tensor GatedFusion::fuse(const ModalityTensors& features, const Presence& presence) {
  ModalityTensors projected(projections_.size());
  for (size_t m = 0; m < projections_.size(); ++m) {
    if (features[m].defined()) {
      projected[m] = projections_[m]->forward(features[m]);
    }
  }
  if (released_ && projected.size() == 2 && projected.front().defined() &&
      projected.back().defined()) {
    for (torch::Tensor& value : projected) {
      value = value.detach();
    }
  }
  const auto [gate, value] = stand_in(projected.front(), projected.back(), presence);
  return fc_out_->forward(torch::sigmoid(gate) * value);
}

std::string GatedFusion::torchscript() const {
  script::Lines body;
  body.add("present: List[Tensor] = []");
  const auto children = named_children();
  for (size_t m = 0; m < projections_.size(); ++m) {
    body.add("if z{} is not None:", m);
    body.add("  present.append({})", script::linear(fmt::format("z{}", m), children[m].key()));
  }
  body.add("return {}", script::linear("torch.sigmoid(present[0]) * present[-1]", "fc_out"));
  return script::fusion(projections_.size(), body);
}

FusionBuilder GatedFusion::read(Options& options) {
  const bool released = options.boolean("released", false);
  return [released](const FusionShape& shape) {
    return std::make_shared<GatedFusion>(shape, released);
  };
}

}  // namespace unbraid
