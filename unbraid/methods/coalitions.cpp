#include "unbraid/methods/coalitions.h"

#include <algorithm>

namespace unbraid {

torch::Tensor CoalitionOutput::spread(int64_t batch) const {
  if (!rows.defined()) {
    return output;
  }
  std::vector<int64_t> sizes = output.sizes().vec();
  sizes.front() = batch;
  return torch::zeros(sizes, output.options()).index_copy(0, rows, output);
}

CoalitionOutput output_of_coalition(MultimodalModelImpl& model, const ModalityTensors& features,
                                    const Presence& presence, const std::vector<bool>& kept) {
  std::vector<bool> present = kept;
  ModalityTensors members(features.size());
  torch::Device device(torch::kCPU);
  for (size_t m = 0; m < features.size(); ++m) {
    present[m] = kept[m] && features[m].defined();
    if (present[m]) {
      members[m] = features[m];
      device = features[m].device();
    }
  }
  if (std::find(present.begin(), present.end(), true) == present.end()) {
    return {};
  }
  const torch::Tensor rows = presence.samples_with(present);
  if (!rows.defined()) {
    return {model.fuse(members, presence.only(present)), {}};
  }
  if (rows.numel() == 0) {
    return {};
  }
  return {model.fuse(members, presence.only(present)), rows.to(device)};
}

}  // namespace unbraid
