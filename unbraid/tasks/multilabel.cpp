#include "unbraid/tasks/multilabel.h"

#include <cmath>
#include <limits>
#include <tuple>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "unbraid/tasks/label.h"

namespace unbraid {
namespace {

constexpr const char* kNoClass = "-";
constexpr int64_t kMostClassesOfTable = 1000;

/// Which classes are predicted, [B, classes] bool on the CPU.
torch::Tensor predicted(const torch::Tensor& output, double threshold) {
  return output.detach().cpu().to(torch::kDouble).sigmoid() >= threshold;
}

/// 2 TP / (2 TP + FP + FN), NaN of nothing.
torch::Tensor f1_of(const torch::Tensor& hits, const torch::Tensor& seen) {
  return (2 * hits.to(torch::kDouble) / seen)
      .masked_fill(seen == 0, std::numeric_limits<double>::quiet_NaN());
}

/// NaN without a positive.
double average_precision(const torch::Tensor& scores, const torch::Tensor& positive) {
  const torch::Tensor order = scores.argsort(0, /*descending=*/true);
  const torch::Tensor sorted_scores = scores.index_select(0, order);
  const torch::Tensor sorted_positive = positive.index_select(0, order);
  const auto score = sorted_scores.accessor<float, 1>();
  const auto is_positive = sorted_positive.accessor<bool, 1>();
  const int64_t count = score.size(0);
  double sum = 0;
  int64_t hits = 0;
  for (int64_t begin = 0, end = 0; begin < count; begin = end) {
    const int64_t hits_before = hits;
    do {
      hits += is_positive[end++] ? 1 : 0;
    } while (end < count && score[end] == score[begin]);
    sum += static_cast<double>(hits - hits_before) * static_cast<double>(hits) /
           static_cast<double>(end);
  }
  return hits == 0 ? std::numeric_limits<double>::quiet_NaN() : sum / static_cast<double>(hits);
}

}  // namespace

Multilabel::Multilabel(MultilabelOptions options) : options_(std::move(options)) {}

torch::Tensor Multilabel::target(const std::string& label) const {
  torch::Tensor target = torch::zeros(options_.classes);
  if (label == kNoClass) {
    return target;
  }
  auto values = target.accessor<float, 1>();
  for (const std::string& part : label_parts(label)) {
    float& value = values[class_index(part, options_.classes, options_.class_names)];
    if (value != 0) {
      throw DataError(fmt::format("label: expected each class once, got \"{}\" twice", part));
    }
    value = 1;
  }
  return target;
}

torch::Tensor Multilabel::loss(const torch::Tensor& output, const torch::Tensor& target) const {
  namespace F = torch::nn::functional;
  const torch::Tensor logits = output.to(torch::promote_types(output.scalar_type(), torch::kFloat));
  F::BinaryCrossEntropyWithLogitsFuncOptions settings;
  if (!options_.pos_weight.empty()) {
    settings.pos_weight(torch::tensor(options_.pos_weight, logits.options().requires_grad(false)));
  }
  return F::binary_cross_entropy_with_logits(logits, target.to(logits.scalar_type()), settings);
}

std::unique_ptr<Metrics> Multilabel::metrics() const {
  return std::make_unique<MultilabelMetrics>(options_);
}

std::vector<std::string> Multilabel::prediction_columns() const {
  std::vector<std::string> columns = {"prediction"};
  for (int64_t index = 0; index < options_.classes; ++index) {
    columns.push_back("p_" + class_name(index, options_.class_names));
  }
  return columns;
}

std::vector<std::vector<std::string>> Multilabel::predictions(const torch::Tensor& output) const {
  const torch::Tensor chosen = predicted(output, options_.threshold);
  const torch::Tensor probabilities = output.detach().cpu().to(torch::kDouble).sigmoid();
  const auto is_chosen = chosen.accessor<bool, 2>();
  const auto probability = probabilities.accessor<double, 2>();
  std::vector<std::vector<std::string>> rows;
  for (int64_t sample = 0; sample < probability.size(0); ++sample) {
    std::vector<std::string> names;
    std::vector<std::string> row = {kNoClass};
    for (int64_t index = 0; index < options_.classes; ++index) {
      if (is_chosen[sample][index]) {
        names.push_back(class_name(index, options_.class_names));
      }
      row.push_back(fmt::format("{:.6g}", probability[sample][index]));
    }
    if (!names.empty()) {
      row.front() = fmt::format("{}", fmt::join(names, std::string(1, kLabelSeparator)));
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

std::shared_ptr<const Task> Multilabel::read(Options& options) {
  MultilabelOptions read;
  std::tie(read.classes, read.class_names) = read_number_or_names(options, "classes", 1);
  for (const std::string& name : read.class_names) {
    if (name.empty() || name == kNoClass || name.find(kLabelSeparator) != std::string::npos) {
      throw options.error(
          "classes", fmt::format("expected names other than \"{}\" and without \"{}\", got \"{}\"",
                                 kNoClass, kLabelSeparator, name));
    }
  }
  read.pos_weight = read_class_weights(options, "pos_weight", read.classes);
  read.threshold = options.number("threshold", read.threshold, {.min = 0.0, .max = 1.0});
  return std::make_shared<Multilabel>(read);
}

MultilabelMetrics::MultilabelMetrics(MultilabelOptions options)
    : options_(std::move(options)),
      hits_(torch::zeros({options_.classes}, torch::kLong)),
      targets_(torch::zeros({options_.classes}, torch::kLong)),
      predictions_(torch::zeros({options_.classes}, torch::kLong)) {}

void MultilabelMetrics::update(const torch::Tensor& output, const torch::Tensor& target) {
  const torch::Tensor positive = target.cpu() > 0.5;
  const torch::Tensor chosen = predicted(output, options_.threshold);
  hits_ += positive.logical_and(chosen).sum(0);
  targets_ += positive.sum(0);
  predictions_ += chosen.sum(0);
  logits_.push_back(output.detach().cpu().to(torch::kFloat));
  positives_.push_back(positive);
}

std::vector<double> MultilabelMetrics::average_precisions() const {
  std::vector<double> values(static_cast<size_t>(options_.classes),
                             std::numeric_limits<double>::quiet_NaN());
  if (!logits_.empty()) {
    const torch::Tensor logits = torch::cat(logits_);
    const torch::Tensor positives = torch::cat(positives_);
    for (size_t index = 0; index < values.size(); ++index) {
      const auto column = static_cast<int64_t>(index);
      values[index] = average_precision(logits.select(1, column), positives.select(1, column));
    }
  }
  return values;
}

std::vector<std::pair<std::string, double>> MultilabelMetrics::values() const {
  double sum = 0;
  double count = 0;
  for (const double value : average_precisions()) {
    if (!std::isnan(value)) {
      sum += value;
      ++count;
    }
  }
  const torch::Tensor seen = targets_ + predictions_;
  const torch::Tensor f1 = f1_of(hits_, seen).index({seen > 0});
  return {{"mAP", sum / count},
          {"macro_f1", f1.mean().item<double>()},
          {"micro_f1", f1_of(hits_.sum(), seen.sum()).item<double>()}};
}

std::string MultilabelMetrics::details() const {
  if (options_.classes > kMostClassesOfTable) {
    return "";
  }
  const std::vector<double> precisions = average_precisions();
  const torch::Tensor f1 = f1_of(hits_, targets_ + predictions_);
  std::string text =
      fmt::format("{:<24}{:>8}{:>11}{:>12}{:>12}\n", "class", "in", "predicted", "AP", "F1");
  for (int64_t index = 0; index < options_.classes; ++index) {
    text += fmt::format("{:<24}{:>8}{:>11}{:>12.4f}{:>12.4f}\n",
                        class_name(index, options_.class_names), targets_[index].item<int64_t>(),
                        predictions_[index].item<int64_t>(), precisions[static_cast<size_t>(index)],
                        f1[index].item<double>());
  }
  return text;
}

}  // namespace unbraid
