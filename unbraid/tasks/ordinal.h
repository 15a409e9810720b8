#pragma once

#include "unbraid/tasks/regression.h"

namespace unbraid {

struct OrdinalOptions {
  int64_t low = -3;  // the lowest score, and the highest, above it
  int64_t high = 3;
  double neutral = 0;  // scores below are negative, scores above positive; within low to high
  RegressionLoss loss = {.type = RegressionLoss::Type::kL1};
};

/// A score on a scale of integers that annotators' mean fills in between, such as the sentiment of
/// CMU-MOSI and CMU-MOSEI from -3 to 3. Output and target are [B, 1].
class Ordinal : public Task {
 public:
  explicit Ordinal(OrdinalOptions options);

  [[nodiscard]] int64_t outputs() const override { return 1; }
  [[nodiscard]] torch::Tensor target(const std::string& label) const override;
  [[nodiscard]] torch::Tensor loss(const torch::Tensor& output,
                                   const torch::Tensor& target) const override;
  [[nodiscard]] std::unique_ptr<Metrics> metrics() const override;
  /// "prediction", the score as it comes out, and "rounded", the integer of the scale next to it.
  [[nodiscard]] std::vector<std::string> prediction_columns() const override;
  [[nodiscard]] std::vector<std::vector<std::string>> predictions(
      const torch::Tensor& output) const override;

  static std::shared_ptr<const Task> read(Options& options);

 private:
  OrdinalOptions options_;
  Regression regression_;
};

/// The metrics that are reported on CMU-MOSI and CMU-MOSEI, of scores [B, 1]. Memory does not grow
/// with the samples.
class OrdinalMetrics : public Metrics {
 public:
  explicit OrdinalMetrics(OrdinalOptions options);

  void update(const torch::Tensor& output, const torch::Tensor& target) override;
  /// "mae"; "corr", Pearson's; "acc7" (of -3 to 3, else the number of integers in the scale): both
  /// clipped to the scale and rounded, half to even, are the same. "acc2_has0", "f1_has0":
  /// negative or not, of all samples; "acc2_non0", "f1_non0": positive or not, of those whose
  /// target is not neutral. F1 is the mean of both classes' weighted by their targets, a class that
  /// is never predicted having 0. NaN of no samples; corr where RegressionMetrics says.
  [[nodiscard]] std::vector<std::pair<std::string, double>> values() const override;
  [[nodiscard]] bool smaller_is_better() const override { return true; }

 private:
  OrdinalOptions options_;
  RegressionMetrics regression_;
  int64_t samples_ = 0;
  int64_t same_level_ = 0;
  torch::Tensor has_neutral_;  // [2, 2] int64: target by prediction, false first
  torch::Tensor non_neutral_;
};

}  // namespace unbraid
