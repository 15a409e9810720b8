#include "unbraid/tasks/classification.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "unbraid/tasks/classes.h"

namespace unbraid {

Classification::Classification(ClassificationOptions options) : options_(std::move(options)) {}

torch::Tensor Classification::target(const std::string& label) const {
  const auto& names = options_.class_names;
  if (!names.empty()) {
    const auto place = std::find(names.begin(), names.end(), label);
    if (place == names.end()) {
      const std::string close = nearest(label, names);
      throw DataError(fmt::format(
          "label: expected one of the {} class names of task.classes, got "
          "\"{}\"{}",
          names.size(), label, close.empty() ? "" : fmt::format("; did you mean \"{}\"?", close)));
    }
    return torch::tensor(static_cast<int64_t>(place - names.begin()));
  }
  int64_t number = -1;
  const char* end = label.data() + label.size();
  const auto [stop, failure] = std::from_chars(label.data(), end, number);
  if (failure != std::errc() || stop != end || number < 0 || number >= options_.classes) {
    throw DataError(fmt::format("label: expected an integer from 0 to {}, got \"{}\"",
                                options_.classes - 1, label));
  }
  return torch::tensor(number);
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

std::unique_ptr<Metrics> Classification::metrics() const {
  return std::make_unique<ClassificationMetrics>(options_.classes);
}

std::string Classification::class_name(int64_t index) const {
  return options_.class_names.empty() ? std::to_string(index)
                                      : options_.class_names.at(static_cast<size_t>(index));
}

std::vector<std::string> Classification::prediction_columns() const {
  std::vector<std::string> columns = {"prediction"};
  for (int64_t index = 0; index < options_.classes; ++index) {
    columns.push_back("p_" + class_name(index));
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
    rows.push_back({class_name(best[sample].item<int64_t>())});
    for (int64_t index = 0; index < cells.size(1); ++index) {
      rows.back().push_back(fmt::format("{:.6f}", cells[sample][index]));
    }
  }
  return rows;
}

std::shared_ptr<const Task> Classification::read(Options& options) {
  ClassificationOptions read;
  const Classes classes = read_classes(options, 1 << 20);
  read.classes = classes.count;
  read.class_names = classes.names;
  read.label_smoothing = options.number("label_smoothing", 0.0, {.min = 0.0, .max = 0.999});
  read.class_weights = read_class_weights(options, read.classes);
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

}  // namespace unbraid
