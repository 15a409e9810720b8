#pragma once

#include "unbraid/tasks/task.h"

namespace unbraid {

/// How far outputs are from targets, as a mean over samples and targets. With the difference d:
/// "l2": d^2; "l1": |d|; "huber": d^2 / 2 up to |d| = delta, beyond it delta (|d| - delta / 2).
struct RegressionLoss {
  enum class Type { kL2, kL1, kHuber };
  Type type = Type::kL2;
  double delta = 1.0;  // of huber, above 0

  [[nodiscard]] torch::Tensor operator()(const torch::Tensor& output,
                                         const torch::Tensor& target) const;
  /// Reads `loss` and, of huber, `delta`.
  static RegressionLoss read(Options& options, Type fallback);
};

struct RegressionOptions {
  int64_t targets = 1;
  std::vector<std::string> target_names = {};  // empty: numbers from 0
  RegressionLoss loss = {};
  // A target is learned as (value - mean) / deviation.
  std::vector<double> mean = {};       // empty: 0
  std::vector<double> deviation = {};  // above 0; empty: 1
};

/// Numbers: a label holds one for each target, separated by ";" ("21.5;-3"). Outputs and targets
/// are [B, targets], the normalised values.
class Regression : public Task {
 public:
  explicit Regression(RegressionOptions options);

  [[nodiscard]] const RegressionOptions& options() const { return options_; }

  [[nodiscard]] int64_t outputs() const override { return options_.targets; }
  /// Normalised.
  [[nodiscard]] torch::Tensor target(const std::string& label) const override;
  [[nodiscard]] torch::Tensor loss(const torch::Tensor& output,
                                   const torch::Tensor& target) const override;
  [[nodiscard]] std::unique_ptr<Metrics> metrics() const override;
  /// "prediction", as a label has it; of several targets also each one, as "y_<name>".
  [[nodiscard]] std::vector<std::string> prediction_columns() const override;
  [[nodiscard]] std::vector<std::vector<std::string>> predictions(
      const torch::Tensor& output) const override;

  static std::shared_ptr<const Task> read(Options& options);

 private:
  RegressionOptions options_;
};

/// Metrics of normalised outputs [B, targets] in the units of the labels. Memory does not grow with
/// the samples.
class RegressionMetrics : public Metrics {
 public:
  explicit RegressionMetrics(RegressionOptions options);

  void update(const torch::Tensor& output, const torch::Tensor& target) override;
  /// "mae", "rmse" and "pearson", each the mean over targets of its value for one target; "pearson"
  /// over the targets that have it: it is NaN for one whose labels or predictions are all alike.
  [[nodiscard]] std::vector<std::pair<std::string, double>> values() const override;
  [[nodiscard]] bool smaller_is_better() const override { return true; }
  /// The same by target, where there are several.
  [[nodiscard]] std::string details() const override;

 private:
  /// [targets] double each.
  struct ByTarget {
    torch::Tensor mae;
    torch::Tensor rmse;
    torch::Tensor pearson;
  };
  [[nodiscard]] ByTarget by_target() const;

  RegressionOptions options_;
  int64_t samples_ = 0;
  torch::Tensor absolute_;  // [targets] double: sum of |d|
  torch::Tensor squared_;   // of d^2
  // Less the first sample's output and target, so that sums of squares keep their digits and what
  // never changes has exactly no variance.
  torch::Tensor origin_;    // [2, targets] double
  torch::Tensor sums_;      // [2, targets]
  torch::Tensor squares_;   // [2, targets]
  torch::Tensor products_;  // [targets], of outputs with targets
};

}  // namespace unbraid
