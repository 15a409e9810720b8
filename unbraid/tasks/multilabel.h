#pragma once

#include "unbraid/tasks/task.h"

namespace unbraid {

struct MultilabelOptions {
  int64_t classes = 1;
  std::vector<std::string> class_names = {};  // empty: labels are integers from 0
  std::vector<double> pos_weight = {};        // of each class's positives, above 0; empty: all 1
  double threshold = 0.5;                     // probability from which on a class is predicted
};

/// Any number of classes at once. A label names them, separated by ";" ("cat;dog"); "-" names none.
/// Binary cross-entropy on logits [B, classes] with targets [B, classes] float, 0 or 1: the mean
/// over samples and classes of -(w y log p + (1 - y) log(1 - p)), w being pos_weight.
class Multilabel : public Task {
 public:
  explicit Multilabel(MultilabelOptions options);

  [[nodiscard]] int64_t outputs() const override { return options_.classes; }
  [[nodiscard]] torch::Tensor target(const std::string& label) const override;
  [[nodiscard]] torch::Tensor loss(const torch::Tensor& output,
                                   const torch::Tensor& target) const override;
  [[nodiscard]] std::unique_ptr<Metrics> metrics() const override;
  /// "prediction", the classes as a label names them, and the probability of each as "p_<class>".
  [[nodiscard]] std::vector<std::string> prediction_columns() const override;
  [[nodiscard]] std::vector<std::vector<std::string>> predictions(
      const torch::Tensor& output) const override;

  static std::shared_ptr<const Task> read(Options& options);

 private:
  MultilabelOptions options_;
};

/// Metrics of logits [B, classes] against targets [B, classes]. Holds every logit, 5 bytes a class
/// and sample with its target.
class MultilabelMetrics : public Metrics {
 public:
  explicit MultilabelMetrics(MultilabelOptions options);

  void update(const torch::Tensor& output, const torch::Tensor& target) override;
  /// "mAP": the mean, over the classes with a positive sample, of the average precision
  /// sum_n (R_n - R_{n-1}) P_n, n running over the distinct logits from the largest down (equal
  /// ones are one threshold, as in scikit-learn). "macro_f1": the mean of 2 TP / (2 TP + FP + FN)
  /// over the classes that occur as target or prediction; "micro_f1": the same of the sums over all
  /// classes. NaN where no class counts.
  [[nodiscard]] std::vector<std::pair<std::string, double>> values() const override;
  /// Samples, average precision and F1 by class; "" for more than 1000 classes.
  [[nodiscard]] std::string details() const override;

 private:
  /// [classes], NaN without a positive sample.
  [[nodiscard]] std::vector<double> average_precisions() const;

  MultilabelOptions options_;
  torch::Tensor hits_;                    // [classes] int64: predicted and in the target
  torch::Tensor targets_;                 // [classes] int64
  torch::Tensor predictions_;             // [classes] int64
  std::vector<torch::Tensor> logits_;     // by batch, [B, classes] float
  std::vector<torch::Tensor> positives_;  // by batch, [B, classes] bool
};

}  // namespace unbraid
