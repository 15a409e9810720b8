#pragma once

#include "unbraid/methods/method.h"

namespace unbraid {

struct ReconBoostOptions {
  int64_t passes = 1;  // epochs of each phase
  double agreement = 5.0;
  double reconcilement = 1.0;
  double consolidation = 0.5;
};

/// ReconBoost (Hua, Xu, Bao, Yang & Huang, "ReconBoost: Boosting Can Achieve Modality
/// Reconcilement", ICML 2024). Stages of two phases, each of `passes` epochs, go round the
/// modalities: with passes = 1, epoch e (from 1) is in phase (e - 1) mod 2 of modality
/// k = floor((e - 1) / 2) mod M. In the first phase encoder k and the fusion learn from
///
///     (agreement L_k + reconcilement mean_i p(rest)_y log p(k)_y) / C
///         + consolidation mean_{i,c} (p(k)_c - p(previous)_c)^2
///
/// with L_k the unimodal loss, p(k) the probabilities of modality k alone, p(rest) those of the
/// fusion with k absent, p(previous) those of the modality of the stage before, the last two held
/// fixed, and C the number of classes; in the very first stage from the first term alone. In the
/// second phase everything learns from the multimodal loss. It is meant for a fusion that adds up
/// outputs ("sum"), and runs with any other one.
///
/// `agreement` 5, `reconcilement` 1 and `consolidation` 0.5 are those of the released code, whose
/// phases have 4 passes (BalanceMM: 1). Departs from it: its consolidation has no gradient, which
/// is consolidation = 0 here; it has a learned scale in front of the sum; a modality takes no part
/// before its first stage; and it starts each phase with a new optimizer.
class ReconBoost : public Method {
 public:
  explicit ReconBoost(const ReconBoostOptions& options) : options_(options) {}

  [[nodiscard]] std::string name() const override { return "reconboost"; }
  /// Of the second phase.
  [[nodiscard]] GradientRoute route() const override { return GradientRoute::joint(); }
  RoutedResult backward(const TrainingStep& step) override;
  /// "modality", its number from 0, and "phase", 1 or 2.
  [[nodiscard]] std::map<std::string, double> choices() const override { return choices_; }

  static std::shared_ptr<Method> read(Options& options, const MethodContext& context);

 private:
  RoutedResult boost(const TrainingStep& step, size_t modality, bool first_stage) const;

  ReconBoostOptions options_;
  std::map<std::string, double> choices_;
};

}  // namespace unbraid
