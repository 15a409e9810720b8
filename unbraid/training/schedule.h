#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "unbraid/core/options.h"

namespace unbraid {

struct ScheduleOptions {
  std::string type = "constant";  // "multistep", "step", "cosine"
  std::vector<int64_t> milestones =
      {};                  // multistep: epochs (from 0) at whose start lr is multiplied by gamma
  int64_t step_size = 30;  // step: every so many epochs
  double gamma = 0.1;
  double min_lr = 0;         // cosine: reached at the end of training
  double warmup_epochs = 0;  // any type: linear from 0 over so many epochs
};

ScheduleOptions read_schedule(Options& options);

/// The learning rate of optimizer step `step` (from 0), a pure function of the step: `base_lr`
/// times the factor of the schedule. `steps_per_epoch` and `epochs` say when epochs begin and
/// training ends. Cosine: min_lr + (base_lr - min_lr) (1 + cos(pi t)) / 2 with t the share of the
/// steps after warm-up that are done (Loshchilov & Hutter, 2017, one cycle).
double learning_rate(const ScheduleOptions& schedule, double base_lr, int64_t step,
                     int64_t steps_per_epoch, int64_t epochs);

}  // namespace unbraid
