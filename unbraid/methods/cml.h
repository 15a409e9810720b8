#pragma once

#include "unbraid/methods/method.h"

namespace unbraid {

/// Calibrating multimodal learning (Ma, Zhang, Wu, Fu & Hu, "Calibrating Multimodal Learning", ICML
/// 2023): removing a modality should not make a model more confident. Once an epoch an order of the
/// M modalities is drawn; they are removed one by one in it, which leaves M - 1 partial outputs
/// beside the full one, and everything learns from
///
///     (L(full) + sum_p L(partial_p)) / M + lambda sum_p mean_i max(0, conf(partial_p)_i -
///     conf(full)_i)
///
/// conf being the largest probability of a sample. `lambda` 0.1 (BalanceBenchmark). `hinge =
/// "batch"` takes max(0, sum_i (conf(partial_p)_i - conf(full)_i)) instead, the sum over the batch
/// inside, as BalanceBenchmark does; the paper's hinge is the sample's. Any fusion and number of
/// modalities from two; samples that have none of what is left of a coalition take no part in it.
class Cml : public Method {
 public:
  Cml(double lambda, bool batch_hinge) : lambda_(lambda), batch_hinge_(batch_hinge) {}

  [[nodiscard]] std::string name() const override { return "cml"; }
  [[nodiscard]] GradientRoute route() const override { return GradientRoute::joint(); }
  RoutedResult backward(const TrainingStep& step) override;
  /// "penalty", what lambda weighs.
  [[nodiscard]] std::map<std::string, double> choices() const override { return choices_; }

  /// In which modalities are removed.
  static std::vector<size_t> order(uint64_t seed, int64_t epoch, size_t modalities);

  static std::shared_ptr<Method> read(Options& options, const MethodContext& context);

 private:
  double lambda_;
  bool batch_hinge_;
  std::map<std::string, double> choices_;
};

}  // namespace unbraid
