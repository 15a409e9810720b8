#include "unbraid/training/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace unbraid {

ScheduleOptions read_schedule(Options& options) {
  ScheduleOptions read;
  read.type = options.choice("type", {"constant", "multistep", "step", "cosine"}, "constant");
  if (read.type == "multistep") {
    read.milestones = options.integers("milestones", std::nullopt, {.min = 1});
    if (!std::is_sorted(read.milestones.begin(), read.milestones.end())) {
      throw options.error("milestones", "expected epochs in ascending order");
    }
  }
  if (read.type == "step") {
    read.step_size = options.integer("step_size", read.step_size, {.min = 1});
  }
  if (read.type == "multistep" || read.type == "step") {
    read.gamma = options.number("gamma", read.gamma, {.min = 0, .max = 1, .open_min = true});
  }
  if (read.type == "cosine") {
    read.min_lr = options.number("min_lr", read.min_lr, {.min = 0});
  }
  read.warmup_epochs = options.number("warmup_epochs", read.warmup_epochs, {.min = 0});
  return read;
}

double learning_rate(const ScheduleOptions& schedule, double base_lr, int64_t step,
                     int64_t steps_per_epoch, int64_t epochs) {
  const double warmup = schedule.warmup_epochs * static_cast<double>(steps_per_epoch);
  const auto position = static_cast<double>(step);
  if (position + 1 < warmup) {
    return base_lr * (position + 1) / warmup;
  }
  const int64_t epoch = step / steps_per_epoch;
  if (schedule.type == "multistep") {
    const auto passed =
        std::upper_bound(schedule.milestones.begin(), schedule.milestones.end(), epoch) -
        schedule.milestones.begin();
    return base_lr * std::pow(schedule.gamma, static_cast<double>(passed));
  }
  if (schedule.type == "step") {
    return base_lr * std::pow(schedule.gamma, static_cast<double>(epoch / schedule.step_size));
  }
  if (schedule.type == "cosine") {
    const double total = static_cast<double>(steps_per_epoch * epochs) - warmup;
    const double done = std::clamp((position - warmup) / std::max(total, 1.0), 0.0, 1.0);
    return schedule.min_lr +
           (base_lr - schedule.min_lr) * 0.5 * (1 + std::cos(std::numbers::pi * done));
  }
  return base_lr;
}

}  // namespace unbraid
