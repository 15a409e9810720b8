#pragma once

#include <string>
#include <vector>

#include "unbraid/core/presence.h"
#include "unbraid/core/torch.h"

namespace unbraid {

/// Tensors by modality, in the order of the model's modalities. An undefined tensor: absent.
using ModalityTensors = std::vector<torch::Tensor>;

/// A sample that cannot be read, and why.
struct SkippedSample {
  std::string id;
  std::string reason;
};

/// B samples, stacked; without tensors when there are none.
struct Batch {
  ModalityTensors inputs;  // each [B_m, …], float: of the samples that have it; undefined: none
  Presence presence;       // who has what
  torch::Tensor target;    // [B, …], as the task wants it
  std::vector<std::string> ids;
  std::vector<SkippedSample> skipped;  // would have been in it

  [[nodiscard]] int64_t size() const { return static_cast<int64_t>(ids.size()); }
};

}  // namespace unbraid
