#include "unbraid/tasks/segmentation.h"

#include <cmath>
#include <stdexcept>
#include <tuple>

#include <fmt/format.h>

#include "unbraid/tasks/label.h"

namespace unbraid {
namespace {

constexpr int64_t kMostClasses = 1 << 12;
constexpr int64_t kMostSide = 4096;
constexpr double kMostLabel = 1 << 24;  // whole numbers up to it are exact as float32

}  // namespace

Segmentation::Segmentation(SegmentationOptions options)
    : options_(std::move(options)),
      labels_{options_.classes, options_.ignore, options_.height, options_.width} {}

torch::Tensor Segmentation::target(const std::string& /*label*/) const {
  throw std::logic_error("labels of a segmentation are files, see Task::pixel_labels");
}

torch::Tensor Segmentation::loss(const torch::Tensor& output, const torch::Tensor& target) const {
  namespace F = torch::nn::functional;
  const torch::Tensor logits =
      output.scalar_type() == torch::kDouble ? output : output.to(torch::kFloat);
  if ((target == options_.ignore).all().item<bool>()) {
    return logits.sum() * 0.0;
  }
  auto settings = F::CrossEntropyFuncOptions().ignore_index(options_.ignore);
  if (!options_.class_weights.empty()) {
    settings.weight(torch::tensor(options_.class_weights, logits.options().requires_grad(false)));
  }
  return F::cross_entropy(logits, target, settings);
}

std::unique_ptr<Metrics> Segmentation::metrics() const {
  return std::make_unique<SegmentationMetrics>(options_);
}

std::vector<std::string> Segmentation::prediction_columns() const {
  std::vector<std::string> columns = {"prediction"};
  for (int64_t index = 0; index < outputs(); ++index) {
    columns.push_back("share_" + class_name(index, options_.class_names));
  }
  return columns;
}

std::vector<std::vector<std::string>> Segmentation::predictions(const torch::Tensor& output) const {
  const torch::Tensor classes = output.detach().argmax(1).cpu().flatten(1);
  std::vector<std::vector<std::string>> rows;
  for (const torch::Tensor& pixels : classes.unbind(0)) {
    const torch::Tensor counts = torch::bincount(pixels, {}, outputs());
    rows.push_back({class_name(counts.argmax().item<int64_t>(), options_.class_names)});
    for (int64_t index = 0; index < outputs(); ++index) {
      rows.back().push_back(fmt::format(
          "{:.6f}", counts[index].item<double>() / static_cast<double>(pixels.numel())));
    }
  }
  return rows;
}

std::shared_ptr<const Task> Segmentation::read(Options& options) {
  SegmentationOptions read;
  std::tie(read.classes, read.class_names) =
      read_number_or_names(options, "classes", 2, std::nullopt, kMostClasses);
  const Range sides{.min = 1, .max = kMostSide};
  if (options.is_list("size")) {
    const auto size = options.integers("size", std::nullopt, sides);
    if (size.size() != 2) {
      throw options.error("size", "expected one side of a square or [height, width]");
    }
    read.height = size[0];
    read.width = size[1];
  } else {
    read.height = read.width = options.integer("size", read.height, sides);
  }
  read.ignore = options.integer("ignore", read.ignore, {.min = -kMostLabel, .max = kMostLabel});
  read.class_weights = read_class_weights(options, "class_weights", read.classes);
  return std::make_shared<Segmentation>(std::move(read));
}

SegmentationMetrics::SegmentationMetrics(SegmentationOptions options)
    : options_(std::move(options)),
      hits_(torch::zeros({options_.classes}, torch::kLong)),
      targets_(torch::zeros({options_.classes}, torch::kLong)),
      predictions_(torch::zeros({options_.classes}, torch::kLong)) {}

void SegmentationMetrics::update(const torch::Tensor& output, const torch::Tensor& target) {
  const torch::Tensor counted = target != options_.ignore;
  const torch::Tensor targets = target.index({counted});
  const torch::Tensor predictions = output.argmax(1).index({counted});
  const auto count = [&](const torch::Tensor& classes) {
    return torch::bincount(classes, {}, options_.classes).cpu();
  };
  hits_ += count(targets.index({targets == predictions}));
  targets_ += count(targets);
  predictions_ += count(predictions);
}

torch::Tensor SegmentationMetrics::iou() const {
  return hits_.to(torch::kDouble) / (targets_ + predictions_ - hits_);
}

std::vector<std::pair<std::string, double>> SegmentationMetrics::values() const {
  const torch::Tensor all = iou();
  return {{"miou", all.index({all.isfinite()}).mean().item<double>()},
          {"accuracy", hits_.sum().item<double>() / targets_.sum().item<double>()}};
}

std::string SegmentationMetrics::details() const {
  std::string text = "IoU of each class that occurs\n";
  const torch::Tensor all = iou();
  for (int64_t index = 0; index < options_.classes; ++index) {
    if (const double value = all[index].item<double>(); std::isfinite(value)) {
      text += fmt::format("{:<24}{:>8.4f}\n", class_name(index, options_.class_names), value);
    }
  }
  return text;
}

}  // namespace unbraid
