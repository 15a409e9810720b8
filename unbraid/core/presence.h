#pragma once

#include <cstddef>
#include <vector>

#include "unbraid/core/torch.h"

namespace unbraid {

/// Which of the B samples of a batch have which of the M modalities. Tensors of a modality that
/// some samples lack hold the others alone, B_m of them in their order ("packed").
class Presence {
 public:
  /// Every sample has every modality.
  Presence() = default;
  /// `mask` [B, M] bool; every sample has at least one modality.
  explicit Presence(const torch::Tensor& mask);

  [[nodiscard]] bool complete() const { return !mask_.defined(); }
  /// Whether every sample has modality m.
  [[nodiscard]] bool complete(size_t modality) const;
  /// [B, M] bool on the CPU; undefined when complete.
  [[nodiscard]] const torch::Tensor& mask() const { return mask_; }
  /// [B] bool on the device of `like`: who has modality m. Not to be asked for when complete.
  [[nodiscard]] torch::Tensor has(size_t modality, const torch::Tensor& like) const;

  /// As if every modality but those of `kept` [M] did not exist, for the samples `samples_with`
  /// gives. Tensors of those modalities stay packed as they are.
  [[nodiscard]] Presence only(const std::vector<bool>& kept) const;
  /// The samples with at least one of the modalities `kept` [M], int64; undefined: all.
  [[nodiscard]] torch::Tensor samples_with(const std::vector<bool>& kept) const;

  /// The rows of `values` [B, …] whose samples have modality m: [B_m, …].
  [[nodiscard]] torch::Tensor pack(const torch::Tensor& values, size_t modality) const;
  /// The reverse, [B_m, …] to [B, …], with zeros for the samples without modality m.
  [[nodiscard]] torch::Tensor spread(const torch::Tensor& packed, size_t modality) const;

 private:
  /// [B_m] int64 on the device of `like`.
  [[nodiscard]] torch::Tensor rows(size_t modality, const torch::Tensor& like) const;

  torch::Tensor mask_;
};

}  // namespace unbraid
