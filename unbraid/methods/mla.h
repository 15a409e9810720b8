#pragma once

#include "unbraid/methods/method.h"

namespace unbraid {

/// Alternating unimodal adaptation (Zhang, Yoon, Bansal & Yao, "Multimodal Representation Learning
/// by Alternating Unimodal Adaptation", CVPR 2024). At each batch, for one modality after another:
/// its unimodal loss trains its encoder and the head that all share, with an optimizer step of its
/// own; there is no multimodal loss. The recipe's fusion is "shared-head", or a concatenation or
/// sum, which that replaces, with weights by entropy where the task has classes and equal ones
/// otherwise.
///
/// With `orthogonal` (true) the gradient of the head's weight turns away from what the features
/// before it used: with r [d] the mean feature of the modality in the batch, P [d, d] at first the
/// identity, and step of count the batches of the epoch,
///
///     k = P r;  P <- P - k k^T / (0.1^(1 + step / count) + r^T k);  P <- P / |P|_F
///     gradient <- gradient P^T
///
/// at every optimizer step but the first of all. P is kept throughout training.
///
/// Departs from the released code, whose modification compares a parameter's name with one that
/// does not exist and so never runs, which is `orthogonal = false`, and whose denominator would be
/// a matrix; there, entropies are of a whole batch instead of a sample.
class Mla : public Method {
 public:
  /// `dynamic`: weights by entropy in the fusion that replaces another one.
  Mla(bool orthogonal, bool dynamic) : orthogonal_(orthogonal), dynamic_(dynamic) {}

  [[nodiscard]] std::string name() const override { return "mla"; }
  [[nodiscard]] GradientRoute route() const override { return GradientRoute::unimodal(); }
  [[nodiscard]] FusionBuilder fusion(const std::string& type, FusionBuilder fusion) const override;
  [[nodiscard]] bool accumulates() const override { return false; }
  /// Throws std::invalid_argument with `orthogonal` when the fusion is no SharedHeadFusion.
  RoutedResult backward(const TrainingStep& step) override;
  [[nodiscard]] NamedTensors state() const override;
  void load_state(const NamedTensors& state) override;

  static std::shared_ptr<Method> read(Options& options, const MethodContext& context);

 private:
  void turn_head(const TrainingStep& step, const torch::Tensor& feature);

  bool orthogonal_;
  bool dynamic_;
  torch::Tensor projection_;  // [d, d]; undefined before the first step
};

}  // namespace unbraid
