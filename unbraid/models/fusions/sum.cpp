#include "unbraid/models/fusions/sum.h"

namespace unbraid {

SumFusion::SumFusion(const FusionShape& shape) {
  for (size_t m = 0; m < shape.modalities.size(); ++m) {
    branches_.push_back(register_module(
        "fc_" + shape.modalities[m], torch::nn::Linear(shape.feature_sizes.at(m), shape.outputs)));
  }
}

torch::Tensor SumFusion::forward(const ModalityTensors& features) {
  torch::Tensor total;
  for (size_t m = 0; m < branches_.size(); ++m) {
    if (features.at(m).defined()) {
      const torch::Tensor branch = branches_[m]->forward(features[m]);
      total = total.defined() ? total + branch : branch;
    }
  }
  TORCH_CHECK(total.defined(), "[sum] expected at least one feature, got none");
  return total;
}

FusionBuilder SumFusion::read(Options& /*options*/) {
  return [](const FusionShape& shape) { return std::make_shared<SumFusion>(shape); };
}

}  // namespace unbraid
