#pragma once

#include "unbraid/tasks/task.h"

namespace unbraid {

struct SegmentationOptions {
  int64_t classes = 2;
  std::vector<std::string> class_names = {};  // empty: they are called by their numbers, from 0
  int64_t ignore = 255;                       // label of pixels that do not count
  int64_t height = 224;                       // of outputs and targets
  int64_t width = 224;
  std::vector<double> class_weights = {};  // of each class in the loss, above 0; empty: all 1
};

/// The class of each pixel: cross-entropy on logits [B, classes, H, W] with targets [B, H, W]
/// int64, the mean over the pixels that are not ignored (weighted, with class weights; 0 when all
/// are ignored); mIoU, pixel accuracy and the IoU of each class.
///
/// Keys: classes (a number, or a list of names), size = 224 (or [height, width]), ignore = 255,
/// class_weights = [].
class Segmentation : public Task {
 public:
  explicit Segmentation(SegmentationOptions options);

  [[nodiscard]] int64_t outputs() const override { return options_.classes; }
  [[nodiscard]] const PixelLabels* pixel_labels() const override { return &labels_; }
  /// Not to be called: labels are files.
  [[nodiscard]] torch::Tensor target(const std::string& label) const override;
  [[nodiscard]] torch::Tensor loss(const torch::Tensor& output,
                                   const torch::Tensor& target) const override;
  [[nodiscard]] std::unique_ptr<Metrics> metrics() const override;
  /// "prediction", the class of most pixels, and the share of the pixels of each class as
  /// "share_<class>".
  [[nodiscard]] std::vector<std::string> prediction_columns() const override;
  [[nodiscard]] std::vector<std::vector<std::string>> predictions(
      const torch::Tensor& output) const override;

  static std::shared_ptr<const Task> read(Options& options);

 private:
  SegmentationOptions options_;
  PixelLabels labels_;
};

/// Over all pixels that are not ignored, of all samples together. IoU of a class: TP / (TP + FP +
/// FN); of a class that occurs neither as target nor as prediction it is not a number.
class SegmentationMetrics : public Metrics {
 public:
  explicit SegmentationMetrics(SegmentationOptions options);

  void update(const torch::Tensor& output, const torch::Tensor& target) override;
  /// "miou", the mean IoU of the classes that occur, and "accuracy", of pixels; NaN when none was
  /// seen.
  [[nodiscard]] std::vector<std::pair<std::string, double>> values() const override;
  /// The IoU of each class that occurs.
  [[nodiscard]] std::string details() const override;
  /// [classes] double.
  [[nodiscard]] torch::Tensor iou() const;

 private:
  SegmentationOptions options_;
  // The sums of a confusion matrix that matter, [classes] int64: its diagonal, rows and columns.
  torch::Tensor hits_;
  torch::Tensor targets_;
  torch::Tensor predictions_;
};

}  // namespace unbraid
