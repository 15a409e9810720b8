#pragma once

#include "unbraid/models/fusions/fusion.h"

namespace unbraid {

/// The bilinear fusion that the DGL reference code calls FiLM: y = f(z_1 (x) z_2) with the outer
/// product, f = fc_out(fc(.)) and no activation between; alone: f(z_m (x) z_m). For one or two
/// modalities with features of one size d. Parameters: fc.{weight [d, d * d], bias [d]},
/// fc_out.{weight [outputs, d], bias [outputs]}.
///
/// Where no parameter needs a gradient, the two linear maps are multiplied first, which leaves
/// `outputs` bilinear forms instead of d and no outer product in memory.
class FilmFusion : public Fusion {
 public:
  explicit FilmFusion(const FusionShape& shape);
  [[nodiscard]] std::string torchscript() const override;

  static FusionBuilder read(Options& options);

 private:
  torch::Tensor fuse(const ModalityTensors& features, const Presence& presence) override;
  torch::Tensor bilinear_forms(const torch::Tensor& left, const torch::Tensor& right);

  size_t modalities_;
  int64_t size_;
  torch::nn::Linear fc_{nullptr};
  torch::nn::Linear fc_out_{nullptr};
};

}  // namespace unbraid
