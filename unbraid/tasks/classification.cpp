#include "unbraid/tasks/classification.h"

#include <tuple>

#include <fmt/format.h>

#include "unbraid/tasks/label.h"

namespace unbraid {

Classification::Classification(ClassificationOptions options) : options_(std::move(options)) {}

torch::Tensor Classification::target(const std::string& label) const {
  return torch::tensor(class_index(label, options_.classes, options_.class_names));
}

torch::Tensor Classification::loss(const torch::Tensor& output, const torch::Tensor& target) const {
  namespace F = torch::nn::functional;
  auto settings = F::CrossEntropyFuncOptions().label_smoothing(options_.label_smoothing);
  const torch::Tensor logits =
      output.scalar_type() == torch::kDouble ? output : output.to(torch::kFloat);
  if (!options_.class_weights.empty()) {
    settings.weight(torch::tensor(options_.class_weights, logits.options().requires_grad(false)));
  }
  return F::cross_entropy(logits, target, settings);
}

torch::Tensor Classification::residuals(const torch::Tensor& output,
                                        const torch::Tensor& target) const {
  const torch::Tensor p = output.detach().to(torch::kDouble).softmax(1);
  torch::Tensor wanted = torch::zeros_like(p).scatter(1, target.unsqueeze(1), 1.0);
  torch::Tensor weights = torch::ones({options_.classes}, p.options());
  if (!options_.class_weights.empty()) {
    weights = torch::tensor(options_.class_weights, p.options());
  }
  const torch::Tensor mean_weight = wanted.matmul(weights).mean();
  const double smoothing = options_.label_smoothing;
  wanted = wanted * (1 - smoothing) + smoothing / static_cast<double>(options_.classes);
  wanted = wanted * weights;
  return (wanted.sum(1, true) * p - wanted) / mean_weight;
}

std::unique_ptr<Metrics> Classification::metrics() const {
  return std::make_unique<ClassificationMetrics>(options_.classes);
}

std::vector<std::string> Classification::prediction_columns() const {
  std::vector<std::string> columns = {"prediction"};
  for (int64_t index = 0; index < options_.classes; ++index) {
    columns.push_back("p_" + class_name(index, options_.class_names));
  }
  return columns;
}

std::vector<std::vector<std::string>> Classification::predictions(
    const torch::Tensor& output) const {
  const torch::Tensor probabilities = output.detach().cpu().to(torch::kDouble).softmax(1);
  const torch::Tensor best = probabilities.argmax(1);
  const auto cells = probabilities.accessor<double, 2>();
  std::vector<std::vector<std::string>> rows;
  for (int64_t sample = 0; sample < cells.size(0); ++sample) {
    rows.push_back({class_name(best[sample].item<int64_t>(), options_.class_names)});
    for (int64_t index = 0; index < cells.size(1); ++index) {
      rows.back().push_back(fmt::format("{:.6g}", cells[sample][index]));
    }
  }
  return rows;
}

std::shared_ptr<const Task> Classification::read(Options& options) {
  ClassificationOptions read;
  std::tie(read.classes, read.class_names) = read_number_or_names(options, "classes", 2);
  read.label_smoothing = options.number("label_smoothing", 0.0, {.min = 0.0, .max = 0.999});
  read.class_weights = read_class_weights(options, "class_weights", read.classes);
  return std::make_shared<Classification>(read);
}

ClassificationMetrics::ClassificationMetrics(int64_t classes)
    : hits_(torch::zeros({classes}, torch::kLong)),
      targets_(torch::zeros({classes}, torch::kLong)),
      predictions_(torch::zeros({classes}, torch::kLong)) {
  if (classes <= kMostClassesOfMatrix) {
    confusion_ = torch::zeros({classes, classes}, torch::kLong);
  }
}

void ClassificationMetrics::update(const torch::Tensor& output, const torch::Tensor& target) {
  const int64_t classes = hits_.size(0);
  const torch::Tensor targets = target.cpu();
  const torch::Tensor predictions = output.argmax(1).cpu();
  hits_ += torch::bincount(targets.index({targets == predictions}), {}, classes);
  targets_ += torch::bincount(targets, {}, classes);
  predictions_ += torch::bincount(predictions, {}, classes);
  if (confusion_.defined()) {
    confusion_ +=
        torch::bincount(targets * classes + predictions, {}, classes * classes).view_as(confusion_);
  }
}

std::vector<std::pair<std::string, double>> ClassificationMetrics::values() const {
  const torch::Tensor seen = (targets_ + predictions_).to(torch::kDouble);
  const torch::Tensor f1 = (2 * hits_ / seen).index({seen > 0});
  return {{"accuracy", hits_.sum().item<double>() / targets_.sum().item<double>()},
          {"macro_f1", f1.mean().item<double>()}};
}

std::string ClassificationMetrics::details() const {
  if (!confusion_.defined()) {
    return "";
  }
  std::string text = "confusion matrix (rows: targets, columns: predictions)\n";
  const auto cells = confusion_.accessor<int64_t, 2>();
  for (int64_t row = 0; row < confusion_.size(0); ++row) {
    for (int64_t column = 0; column < confusion_.size(1); ++column) {
      text += fmt::format("{:>6}", cells[row][column]);
    }
    text += "\n";
  }
  return text;
}

std::vector<std::vector<int64_t>> ClassificationMetrics::confusion() const {
  std::vector<std::vector<int64_t>> rows;
  if (!confusion_.defined() || confusion_.size(0) > kMostClassesOfTable) {
    return rows;
  }
  for (const torch::Tensor& row : confusion_.unbind()) {
    rows.emplace_back(row.data_ptr<int64_t>(), row.data_ptr<int64_t>() + row.numel());
  }
  return rows;
}

}  // namespace unbraid
