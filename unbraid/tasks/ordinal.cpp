#include "unbraid/tasks/ordinal.h"

#include <fmt/format.h>

#include "unbraid/tasks/label.h"

namespace unbraid {
namespace {

constexpr double kWidest = 1 << 20;

torch::Tensor levels_of(const torch::Tensor& scores, const OrdinalOptions& options) {
  return scores.clamp(static_cast<double>(options.low), static_cast<double>(options.high)).round();
}

/// [2, 2]: how often a target, by row, met a prediction, by column.
torch::Tensor crossed(const torch::Tensor& target, const torch::Tensor& prediction) {
  return torch::bincount(target.to(torch::kLong) * 2 + prediction.to(torch::kLong), {}, 4)
      .view({2, 2});
}

double accuracy_of(const torch::Tensor& counts) {
  return counts.trace().item<double>() / counts.sum().item<double>();
}

double weighted_f1_of(const torch::Tensor& counts) {
  const torch::Tensor cells = counts.to(torch::kDouble);
  const torch::Tensor targets = cells.sum(1);
  // A class without targets weighs nothing, whatever stands for its F1.
  const torch::Tensor f1 = 2 * cells.diagonal() / (targets + cells.sum(0)).clamp_min(1);
  return ((f1 * targets).sum() / targets.sum()).item<double>();
}

}  // namespace

Ordinal::Ordinal(OrdinalOptions options)
    : options_(std::move(options)), regression_({.loss = options_.loss}) {}

torch::Tensor Ordinal::target(const std::string& label) const {
  const double score = label_number(label);
  if (score < static_cast<double>(options_.low) || score > static_cast<double>(options_.high)) {
    throw DataError(fmt::format("label: expected a score from {} to {}, got \"{}\"", options_.low,
                                options_.high, label));
  }
  return torch::tensor({static_cast<float>(score)});
}

torch::Tensor Ordinal::loss(const torch::Tensor& output, const torch::Tensor& target) const {
  return regression_.loss(output, target);
}

std::unique_ptr<Metrics> Ordinal::metrics() const {
  return std::make_unique<OrdinalMetrics>(options_);
}

std::vector<std::string> Ordinal::prediction_columns() const { return {"prediction", "rounded"}; }

std::vector<std::vector<std::string>> Ordinal::predictions(const torch::Tensor& output) const {
  const torch::Tensor levels = levels_of(output.detach().cpu().to(torch::kDouble), options_);
  auto rows = regression_.predictions(output);
  for (size_t sample = 0; sample < rows.size(); ++sample) {
    const double level = levels[static_cast<int64_t>(sample)].item<double>();
    rows[sample].push_back(fmt::format("{:.0f}", level + 0.0));  // no "-0"
  }
  return rows;
}

std::shared_ptr<const Task> Ordinal::read(Options& options) {
  OrdinalOptions read;
  read.low = options.integer("low", read.low, {.min = -kWidest, .max = kWidest});
  read.high = options.integer("high", read.high, {.min = -kWidest, .max = kWidest});
  if (read.low >= read.high) {
    throw options.error("low", fmt::format("expected less than {}.high ({}), got {}",
                                           options.name(), read.high, read.low));
  }
  const auto low = static_cast<double>(read.low);
  const auto high = static_cast<double>(read.high);
  read.neutral = options.number("neutral", (low + high) / 2, {.min = low, .max = high});
  read.loss = RegressionLoss::read(options, read.loss.type);
  return std::make_shared<Ordinal>(read);
}

OrdinalMetrics::OrdinalMetrics(OrdinalOptions options)
    : options_(std::move(options)),
      regression_(RegressionOptions{}),
      has_neutral_(torch::zeros({2, 2}, torch::kLong)),
      non_neutral_(torch::zeros({2, 2}, torch::kLong)) {}

void OrdinalMetrics::update(const torch::Tensor& output, const torch::Tensor& target) {
  regression_.update(output, target);
  const torch::Tensor scores = output.detach().cpu().to(torch::kDouble).flatten();
  const torch::Tensor truth = target.detach().cpu().to(torch::kDouble).flatten();
  const auto neutral = static_cast<double>(static_cast<float>(options_.neutral));  // as targets are
  samples_ += truth.size(0);
  same_level_ += (levels_of(scores, options_) == levels_of(truth, options_)).sum().item<int64_t>();
  has_neutral_ += crossed(truth >= neutral, scores >= neutral);
  const torch::Tensor sided = truth != neutral;
  non_neutral_ += crossed(truth.index({sided}) > neutral, scores.index({sided}) > neutral);
}

std::vector<std::pair<std::string, double>> OrdinalMetrics::values() const {
  const auto regression = regression_.values();
  return {{"mae", regression[0].second},
          {"corr", regression[2].second},
          {fmt::format("acc{}", options_.high - options_.low + 1),
           static_cast<double>(same_level_) / static_cast<double>(samples_)},
          {"acc2_has0", accuracy_of(has_neutral_)},
          {"f1_has0", weighted_f1_of(has_neutral_)},
          {"acc2_non0", accuracy_of(non_neutral_)},
          {"f1_non0", weighted_f1_of(non_neutral_)}};
}

}  // namespace unbraid
