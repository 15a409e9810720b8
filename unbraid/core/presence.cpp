#include "unbraid/core/presence.h"

namespace unbraid {

Presence::Presence(const torch::Tensor& mask) {
  TORCH_CHECK(mask.dim() == 2 && mask.scalar_type() == torch::kBool,
              "[presence] expected a bool mask [B, M], got ", mask.scalar_type(), " ",
              mask.sizes());
  TORCH_CHECK(mask.any(1).all().item<bool>(),
              "[presence] expected at least one modality for every sample");
  if (!mask.all().item<bool>()) {
    mask_ = mask.cpu().contiguous();
  }
}

bool Presence::complete(size_t modality) const {
  return complete() || mask_.select(1, static_cast<int64_t>(modality)).all().item<bool>();
}

torch::Tensor Presence::has(size_t modality, const torch::Tensor& like) const {
  return mask_.select(1, static_cast<int64_t>(modality)).to(like.device());
}

Presence Presence::only(const std::vector<bool>& kept) const {
  if (complete()) {
    return {};
  }
  torch::Tensor mask = mask_.index_select(0, samples_with(kept));
  for (size_t m = 0; m < kept.size(); ++m) {
    if (!kept[m]) {
      mask.select(1, static_cast<int64_t>(m)).zero_();
    }
  }
  return Presence(mask);
}

torch::Tensor Presence::samples_with(const std::vector<bool>& kept) const {
  if (complete()) {
    return {};
  }
  torch::Tensor any = torch::zeros(mask_.size(0), torch::kBool);
  for (size_t m = 0; m < kept.size(); ++m) {
    if (kept[m]) {
      any.logical_or_(mask_.select(1, static_cast<int64_t>(m)));
    }
  }
  return any.nonzero().flatten();
}

torch::Tensor Presence::pack(const torch::Tensor& values, size_t modality) const {
  return complete(modality) ? values : values.index_select(0, rows(modality, values));
}

torch::Tensor Presence::spread(const torch::Tensor& packed, size_t modality) const {
  if (complete(modality)) {
    return packed;
  }
  std::vector<int64_t> sizes = packed.sizes().vec();
  sizes.front() = mask_.size(0);
  return torch::zeros(sizes, packed.options()).index_copy(0, rows(modality, packed), packed);
}

torch::Tensor Presence::rows(size_t modality, const torch::Tensor& like) const {
  return mask_.select(1, static_cast<int64_t>(modality)).nonzero().flatten().to(like.device());
}

}  // namespace unbraid
