#include "unbraid/models/multimodal_model.h"

namespace unbraid {

torch::Tensor MultimodalModelImpl::forward(const ModalityTensors& inputs,
                                           const Presence& presence) {
  TORCH_CHECK(inputs.size() == size(), "[model] expected ", size(), " inputs, got ", inputs.size());
  ModalityTensors features(size());
  for (size_t m = 0; m < size(); ++m) {
    if (inputs[m].defined()) {
      features[m] = encode(m, inputs[m]);
    }
  }
  return fuse(features, presence);
}

torch::Tensor MultimodalModelImpl::encode(size_t modality, const torch::Tensor& input) {
  return modalities_.at(modality).encode(input);
}

torch::Tensor MultimodalModelImpl::fuse(const ModalityTensors& features, const Presence& presence) {
  TORCH_CHECK(fuse_, "[model] a fusion module is missing: call set_fusion first");
  return fuse_(features, presence);
}

torch::Tensor MultimodalModelImpl::alone(size_t modality, const torch::Tensor& feature) {
  ModalityTensors features(size());
  features.at(modality) = feature;
  return fuse(features);
}

ModalityTensors MultimodalModelImpl::spread(const ModalityTensors& features,
                                            const Presence& presence) {
  ModalityTensors all = features;
  for (size_t m = 0; m < all.size() && !presence.complete(); ++m) {
    if (all[m].defined()) {
      all[m] = presence.spread(all[m], m);
    }
  }
  return all;
}

torch::Tensor MultimodalModelImpl::in_groups(const ModalityTensors& features,
                                             const Presence& presence, const Fuse& fuse) {
  if (presence.complete()) {
    return fuse(features);
  }
  const ModalityTensors all = spread(features, presence);
  const auto [patterns, group_of, counts] = torch::unique_dim(presence.mask(), 0, true, true);
  std::vector<torch::Tensor> outputs;
  std::vector<torch::Tensor> rows;
  for (int64_t group = 0; group < patterns.size(0); ++group) {
    rows.push_back((group_of == group).nonzero().flatten());
    ModalityTensors present(features.size());
    for (size_t m = 0; m < features.size(); ++m) {
      if (all[m].defined() && patterns[group][static_cast<int64_t>(m)].item<bool>()) {
        present[m] = all[m].index_select(0, rows.back().to(all[m].device()));
      }
    }
    outputs.push_back(fuse(present));
  }
  const torch::Tensor order = torch::cat(rows).argsort().to(outputs.front().device());
  return torch::cat(outputs).index_select(0, order);
}

}  // namespace unbraid
