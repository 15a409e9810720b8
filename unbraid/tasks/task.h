#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "unbraid/core/options.h"
#include "unbraid/core/torch.h"

namespace unbraid {

/// Metrics of one output over a split: fed batch by batch, read at the end.
class Metrics {
 public:
  virtual ~Metrics() = default;

  /// `output` and `target` as Task::loss takes them.
  virtual void update(const torch::Tensor& output, const torch::Tensor& target) = 0;
  /// Name and value, the one that selects the best epoch first, then those worth a column. NaN
  /// where a value has no meaning for what was seen, so for everything before the first update.
  [[nodiscard]] virtual std::vector<std::pair<std::string, double>> values() const = 0;
  /// Whether the value that selects is an error: the smaller the better.
  [[nodiscard]] virtual bool smaller_is_better() const { return false; }
  /// What has more than one number, as text for a person; may be empty.
  [[nodiscard]] virtual std::string details() const { return ""; }
  /// How often which class was taken for which: rows are targets, columns predictions. Empty where
  /// there is none, or too many classes for a table.
  [[nodiscard]] virtual std::vector<std::vector<int64_t>> confusion() const { return {}; }
};

/// Labels that are files with the class of each pixel.
struct PixelLabels {
  int64_t classes = 2;   // 0 to classes - 1
  int64_t ignore = 255;  // of pixels that do not count; may be one of the classes
  int64_t height = 224;  // of targets, to which labels are resized
  int64_t width = 224;
};

/// What is learned: turns labels into targets, outputs into a loss and metrics.
class Task {
 public:
  virtual ~Task() = default;

  /// Size of the fusion module's output.
  [[nodiscard]] virtual int64_t outputs() const = 0;
  /// Where labels are files and outputs are maps, [B, outputs(), height, width]: how to read them,
  /// instead of by `target`. Null for other tasks.
  [[nodiscard]] virtual const PixelLabels* pixel_labels() const { return nullptr; }
  /// A manifest's label as a target; throws DataError saying what was expected.
  [[nodiscard]] virtual torch::Tensor target(const std::string& label) const = 0;
  /// Mean loss over the batch, a scalar. `output` [B, outputs()], `target` stacked targets.
  [[nodiscard]] virtual torch::Tensor loss(const torch::Tensor& output,
                                           const torch::Tensor& target) const = 0;
  [[nodiscard]] virtual std::unique_ptr<Metrics> metrics() const = 0;
  /// Columns that tell a person what an output says, the prediction first.
  [[nodiscard]] virtual std::vector<std::string> prediction_columns() const = 0;
  /// Their cells, for each sample of `output` [B, outputs()].
  [[nodiscard]] virtual std::vector<std::vector<std::string>> predictions(
      const torch::Tensor& output) const = 0;
};

/// Reads `type` and its keys from a recipe's [task] table.
std::shared_ptr<const Task> read_task(Options& options);

}  // namespace unbraid
