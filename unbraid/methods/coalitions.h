#pragma once

#include <vector>

#include "unbraid/models/multimodal_model.h"

namespace unbraid {

/// What the fusion module makes of a coalition: of the modalities `kept` [M] alone.
struct CoalitionOutput {
  torch::Tensor output;  // [B_S, …] with its graph; undefined: no sample has any of them
  torch::Tensor rows;    // [B_S] int64 on the output's device: of which samples; undefined: of all

  /// The rows of `values` [B, …] that belong to these samples.
  [[nodiscard]] torch::Tensor pack(const torch::Tensor& values) const {
    return rows.defined() ? values.index_select(0, rows) : values;
  }
  /// The output as one of `batch` samples, zeros for the others: [B, …].
  [[nodiscard]] torch::Tensor spread(int64_t batch) const;
};

/// `features` [B_m, …], undefined ones being absent.
CoalitionOutput output_of_coalition(MultimodalModelImpl& model, const ModalityTensors& features,
                                    const Presence& presence, const std::vector<bool>& kept);

}  // namespace unbraid
