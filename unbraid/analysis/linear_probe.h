#pragma once

#include "unbraid/core/torch.h"

namespace unbraid {

/// A multinomial logistic regression on frozen features: how much of the labels a linear layer can
/// read from them. Features are standardised by the mean and the deviation of those it is fitted to
/// (constant ones become 0). The weights W and biases b are the minimum of
///
///     mean_i CE(W x_i + b, y_i) + penalty / 2 |W|^2,
///
/// a strictly convex function of W, found by L-BFGS over all samples from zero, in double: the
/// result depends on the data alone.
class LinearProbe {
 public:
  /// `features` [N, d], `labels` [N] int64 from 0 to classes - 1, N at least 1.
  LinearProbe(const torch::Tensor& features, const torch::Tensor& labels, int64_t classes,
              double penalty = 1e-3);

  /// [N, classes] double, on the CPU.
  [[nodiscard]] torch::Tensor logits(const torch::Tensor& features) const;
  /// [classes, d] and [classes], of standardised features.
  [[nodiscard]] const torch::Tensor& weight() const { return weight_; }
  [[nodiscard]] const torch::Tensor& bias() const { return bias_; }
  /// [N, d] double: what the weights are multiplied with.
  [[nodiscard]] torch::Tensor standardised(const torch::Tensor& features) const;

 private:
  torch::Tensor mean_;   // [d]
  torch::Tensor scale_;  // [d]: the inverse deviation, 0 of constant features
  torch::Tensor weight_;
  torch::Tensor bias_;
};

/// A feature as one vector a sample, [N, d]: tokens [N, T, d] and maps [N, d, H, W] give their
/// mean.
torch::Tensor pooled_feature(const torch::Tensor& feature);

}  // namespace unbraid
