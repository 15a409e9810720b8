#pragma once

#include "unbraid/tasks/task.h"

namespace unbraid {

struct ClassificationOptions {
  int64_t classes = 2;
  std::vector<std::string> class_names = {};  // empty: labels are integers from 0
  double label_smoothing = 0.0;               // share of the target spread over all classes, [0, 1)
  std::vector<double> class_weights = {};     // of each class in the loss, above 0; empty: all 1
};

/// One class of several: cross-entropy on logits [B, classes] with targets [B] int64; accuracy,
/// macro-F1 and the confusion matrix. With class weights the mean is weighted, as in PyTorch.
class Classification : public Task {
 public:
  explicit Classification(ClassificationOptions options);

  [[nodiscard]] int64_t outputs() const override { return options_.classes; }
  [[nodiscard]] torch::Tensor target(const std::string& label) const override;
  [[nodiscard]] torch::Tensor loss(const torch::Tensor& output,
                                   const torch::Tensor& target) const override;
  /// B times the gradient of the loss at `output`, in closed form: [B, classes] double. Without
  /// smoothing and weights it is softmax(output) - e_y; with them A_i softmax(output_i) - a_i,
  /// where a_i is the smoothed target, each class times its weight, A_i its sum, and all is divided
  /// by the mean over the batch of the weight of y.
  [[nodiscard]] torch::Tensor residuals(const torch::Tensor& output,
                                        const torch::Tensor& target) const;
  [[nodiscard]] std::unique_ptr<Metrics> metrics() const override;
  /// "prediction", the class, and the probability of each class as "p_<class>".
  [[nodiscard]] std::vector<std::string> prediction_columns() const override;
  [[nodiscard]] std::vector<std::vector<std::string>> predictions(
      const torch::Tensor& output) const override;

  static std::shared_ptr<const Task> read(Options& options);

 private:
  ClassificationOptions options_;
};

/// Accuracy: share of samples whose largest logit is the target's. Macro-F1: unweighted mean over
/// classes of 2 TP / (2 TP + FP + FN), over the classes that occur as target or prediction.
class ClassificationMetrics : public Metrics {
 public:
  explicit ClassificationMetrics(int64_t classes);

  void update(const torch::Tensor& output, const torch::Tensor& target) override;
  /// "accuracy" and "macro_f1"; NaN when no sample was seen.
  [[nodiscard]] std::vector<std::pair<std::string, double>> values() const override;
  [[nodiscard]] std::string details() const override;
  /// Of at most 100 classes.
  [[nodiscard]] std::vector<std::vector<int64_t>> confusion() const override;
  /// [classes, classes] int64: rows are targets, columns predictions. Undefined for more than
  /// kMostClassesOfMatrix classes.
  [[nodiscard]] torch::Tensor confusion_matrix() const { return confusion_; }

 private:
  static constexpr int64_t kMostClassesOfMatrix = 1000;
  static constexpr int64_t kMostClassesOfTable = 100;

  torch::Tensor hits_;         // [classes] int64, by target
  torch::Tensor targets_;      // [classes] int64
  torch::Tensor predictions_;  // [classes] int64
  torch::Tensor confusion_;
};

}  // namespace unbraid
