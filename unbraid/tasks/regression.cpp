#include "unbraid/tasks/regression.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "unbraid/tasks/label.h"

namespace unbraid {
namespace {

// Of a target: its square, summed over a batch, still is a float.
constexpr float kLargest = 1e15F;

/// `values`, or as many times `fallback`, as [targets] double.
torch::Tensor row_of(const std::vector<double>& values, int64_t targets, double fallback) {
  return values.empty() ? torch::full({targets}, fallback, torch::kDouble)
                        : torch::tensor(values, torch::kDouble);
}

/// A number for all targets or a list with one for each.
std::vector<double> read_by_target(Options& options, const std::string& key, int64_t targets,
                                   double fallback, Range range) {
  if (!options.is_list(key)) {
    const double value = options.number(key, fallback, range);
    return std::vector<double>(static_cast<size_t>(targets), value);
  }
  std::vector<double> values = options.numbers(key, std::nullopt, range);
  if (static_cast<int64_t>(values.size()) != targets) {
    throw options.error(key, fmt::format("expected {} numbers, one for each target, got {}",
                                         targets, values.size()));
  }
  return values;
}

double mean_of_known(const torch::Tensor& values) {
  return values.index({values.isnan().logical_not()}).mean().item<double>();
}

}  // namespace

torch::Tensor RegressionLoss::operator()(const torch::Tensor& output,
                                         const torch::Tensor& target) const {
  const torch::Tensor wide = output.to(torch::promote_types(output.scalar_type(), torch::kFloat));
  const torch::Tensor wanted = target.to(wide.scalar_type());
  switch (type) {
    case Type::kL1:
      return torch::l1_loss(wide, wanted);
    case Type::kHuber:
      return torch::huber_loss(wide, wanted, at::Reduction::Mean, delta);
    default:
      return torch::mse_loss(wide, wanted);
  }
}

RegressionLoss RegressionLoss::read(Options& options, Type fallback) {
  const std::vector<std::string> names = {"l2", "l1", "huber"};  // as Type has them
  const std::string name = options.choice("loss", names, names[static_cast<size_t>(fallback)]);
  RegressionLoss read;
  read.type = static_cast<Type>(std::find(names.begin(), names.end(), name) - names.begin());
  if (read.type == Type::kHuber) {
    read.delta = options.number("delta", read.delta, {.min = 0, .open_min = true});
  } else if (options.has("delta")) {
    throw options.error("delta",
                        fmt::format("applies to loss = \"huber\" alone, not to \"{}\"", name));
  }
  return read;
}

Regression::Regression(RegressionOptions options) : options_(std::move(options)) {}

torch::Tensor Regression::target(const std::string& label) const {
  const std::vector<std::string> parts = label_parts(label);
  if (static_cast<int64_t>(parts.size()) != options_.targets) {
    throw DataError(fmt::format(
        "label: expected {}, got {}: \"{}\"",
        options_.targets == 1
            ? "a number"
            : fmt::format("{} numbers with \"{}\" between them", options_.targets, kLabelSeparator),
        parts.size(), label));
  }
  torch::Tensor target = torch::empty(options_.targets);
  auto values = target.accessor<float, 1>();
  for (size_t i = 0; i < parts.size(); ++i) {
    const double mean = options_.mean.empty() ? 0 : options_.mean[i];
    const double deviation = options_.deviation.empty() ? 1 : options_.deviation[i];
    const auto value = static_cast<float>((label_number(parts[i]) - mean) / deviation);
    if (!(std::abs(value) <= kLargest)) {
      throw DataError(fmt::format(
          "label: expected a number of at most {:g} after task.mean and task.std, got \"{}\"",
          kLargest, parts[i]));
    }
    values[static_cast<int64_t>(i)] = value;
  }
  return target;
}

torch::Tensor Regression::loss(const torch::Tensor& output, const torch::Tensor& target) const {
  return options_.loss(output, target);
}

std::unique_ptr<Metrics> Regression::metrics() const {
  return std::make_unique<RegressionMetrics>(options_);
}

std::vector<std::string> Regression::prediction_columns() const {
  std::vector<std::string> columns = {"prediction"};
  for (int64_t i = 0; options_.targets > 1 && i < options_.targets; ++i) {
    columns.push_back("y_" + class_name(i, options_.target_names));
  }
  return columns;
}

std::vector<std::vector<std::string>> Regression::predictions(const torch::Tensor& output) const {
  const torch::Tensor values =
      output.detach().cpu().to(torch::kDouble) * row_of(options_.deviation, options_.targets, 1) +
      row_of(options_.mean, options_.targets, 0);
  const auto cells = values.accessor<double, 2>();
  std::vector<std::vector<std::string>> rows;
  for (int64_t sample = 0; sample < cells.size(0); ++sample) {
    std::vector<std::string> numbers;
    for (int64_t i = 0; i < cells.size(1); ++i) {
      numbers.push_back(fmt::format("{:.7g}", cells[sample][i]));
    }
    rows.push_back({fmt::format("{}", fmt::join(numbers, std::string(1, kLabelSeparator)))});
    if (options_.targets > 1) {
      rows.back().insert(rows.back().end(), numbers.begin(), numbers.end());
    }
  }
  return rows;
}

std::shared_ptr<const Task> Regression::read(Options& options) {
  RegressionOptions read;
  std::tie(read.targets, read.target_names) = read_number_or_names(options, "targets", 1, 1);
  read.loss = RegressionLoss::read(options, read.loss.type);
  read.mean = read_by_target(options, "mean", read.targets, 0, {});
  read.deviation = read_by_target(options, "std", read.targets, 1, {.min = 0, .open_min = true});
  return std::make_shared<Regression>(read);
}

RegressionMetrics::RegressionMetrics(RegressionOptions options)
    : options_(std::move(options)),
      absolute_(torch::zeros({options_.targets}, torch::kDouble)),
      squared_(torch::zeros_like(absolute_)),
      sums_(torch::zeros({2, options_.targets}, torch::kDouble)),
      squares_(torch::zeros_like(sums_)),
      products_(torch::zeros_like(absolute_)) {}

void RegressionMetrics::update(const torch::Tensor& output, const torch::Tensor& target) {
  const torch::Tensor pairs = torch::stack(
      {output.detach().cpu().to(torch::kDouble), target.detach().cpu().to(torch::kDouble)});
  if (pairs.size(1) == 0) {
    return;
  }
  if (samples_ == 0) {
    origin_ = pairs.select(1, 0).clone();
  }
  samples_ += pairs.size(1);
  const torch::Tensor differences = pairs[0] - pairs[1];
  absolute_ += differences.abs().sum(0);
  squared_ += differences.square().sum(0);
  const torch::Tensor moved = pairs - origin_.unsqueeze(1);
  sums_ += moved.sum(1);
  squares_ += moved.square().sum(1);
  products_ += (moved[0] * moved[1]).sum(0);
}

RegressionMetrics::ByTarget RegressionMetrics::by_target() const {
  const auto count = static_cast<double>(samples_);
  const torch::Tensor scale = row_of(options_.deviation, options_.targets, 1);
  const torch::Tensor spread = squares_ - sums_.square() / count;
  const torch::Tensor together = products_ - sums_[0] * sums_[1] / count;
  const torch::Tensor pearson = (together / (spread[0].sqrt() * spread[1].sqrt())).clamp(-1, 1);
  return {absolute_ / count * scale, (squared_ / count).sqrt() * scale,
          pearson.masked_fill((spread <= 0).any(0), std::nan(""))};
}

std::vector<std::pair<std::string, double>> RegressionMetrics::values() const {
  const ByTarget all = by_target();
  return {{"mae", all.mae.mean().item<double>()},
          {"rmse", all.rmse.mean().item<double>()},
          {"pearson", mean_of_known(all.pearson)}};
}

std::string RegressionMetrics::details() const {
  if (options_.targets == 1) {
    return "";
  }
  const ByTarget all = by_target();
  std::string text = fmt::format("{:<24}{:>12}{:>12}{:>12}\n", "target", "mae", "rmse", "pearson");
  for (int64_t i = 0; i < options_.targets; ++i) {
    text += fmt::format("{:<24}{:>12.4f}{:>12.4f}{:>12.4f}\n", class_name(i, options_.target_names),
                        all.mae[i].item<double>(), all.rmse[i].item<double>(),
                        all.pearson[i].item<double>());
  }
  return text;
}

}  // namespace unbraid
