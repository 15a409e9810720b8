#include "unbraid/models/fusions/gated.h"

#include <algorithm>

namespace unbraid {

GatedFusion::GatedFusion(const FusionShape& shape, bool released) : released_(released) {
  check_at_most_two("gated", shape);
  if (std::find(shape.modalities.begin(), shape.modalities.end(), "out") !=
      shape.modalities.end()) {
    throw RecipeError(
        "[gated] expected another name for the modality \"out\": fc_out is the output");
  }
  const int64_t size = shape.feature_sizes.front();
  for (size_t m = 0; m < shape.modalities.size(); ++m) {
    projections_.push_back(register_module("fc_" + shape.modalities[m],
                                           torch::nn::Linear(shape.feature_sizes.at(m), size)));
  }
  fc_out_ = register_module("fc_out", torch::nn::Linear(size, shape.outputs));
}

torch::Tensor GatedFusion::forward(const ModalityTensors& features) {
  std::vector<torch::Tensor> projected;
  for (size_t m = 0; m < projections_.size(); ++m) {
    if (features.at(m).defined()) {
      projected.push_back(projections_[m]->forward(features[m]));
    }
  }
  TORCH_CHECK(!projected.empty(), "[gated] expected at least one feature, got none");
  if (released_ && projected.size() == 2) {
    projected = {projected[0].detach(), projected[1].detach()};
  }
  return fc_out_->forward(torch::sigmoid(projected.front()) * projected.back());
}

FusionBuilder GatedFusion::read(Options& options) {
  const bool released = options.boolean("released", false);
  return [released](const FusionShape& shape) {
    return std::make_shared<GatedFusion>(shape, released);
  };
}

}  // namespace unbraid
