#pragma once

#include <cstdint>
#include <string>

#include "unbraid/core/torch.h"
#include "unbraid/training/optimizer.h"
#include "unbraid/training/schedule.h"

namespace unbraid {

/// How to train, apart from what: everything a Trainer needs beside a model, a task, a method and
/// data.
struct TrainingSettings {
  uint64_t seed = 0;
  torch::Device device = torch::kCPU;
  bool bf16 = false;  // forward passes under automatic casting to bfloat16
  int64_t batch_size = 64;
  int workers = 2;            // threads that decode ahead; the result does not depend on it
  bool shuffle = true;        // of the training split
  bool drop_last = true;      // of the training split
  bool skip_damaged = false;  // samples that cannot be read leave the epoch instead of ending it
  double max_skipped = 0.05;  // share of a split that may be skipped
  OptimizerOptions optimizer;
  ScheduleOptions schedule;
  int64_t epochs = 100;
  double clip_norm = 0;       // L2 norm of all gradients together; 0: no clipping
  int64_t accumulate = 1;     // batches whose gradients make one step
  double ema = 0;             // decay of the average of weights that is validated; 0: none
  int64_t probe_batches = 0;  // of train whose gradients are probed after each epoch; 0: none
  bool tensorboard = false;   // an event file beside metrics.jsonl
};

}  // namespace unbraid
