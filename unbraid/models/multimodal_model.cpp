#include "unbraid/models/multimodal_model.h"

namespace unbraid {

torch::Tensor MultimodalModelImpl::forward(const ModalityTensors& inputs) {
  TORCH_CHECK(inputs.size() == size(), "[model] expected ", size(), " inputs, got ", inputs.size());
  ModalityTensors features(size());
  for (size_t m = 0; m < size(); ++m) {
    if (inputs[m].defined()) {
      features[m] = encode(m, inputs[m]);
    }
  }
  return fuse(features);
}

torch::Tensor MultimodalModelImpl::encode(size_t modality, const torch::Tensor& input) {
  return modalities_.at(modality).encode(input);
}

torch::Tensor MultimodalModelImpl::fuse(const ModalityTensors& features) {
  TORCH_CHECK(fuse_, "[model] a fusion module is missing: call set_fusion first");
  return fuse_(features);
}

torch::Tensor MultimodalModelImpl::alone(size_t modality, const torch::Tensor& feature) {
  ModalityTensors features(size());
  features.at(modality) = feature;
  return fuse(features);
}

}  // namespace unbraid
