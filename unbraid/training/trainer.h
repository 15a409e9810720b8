#pragma once

#include <map>
#include <memory>
#include <string>

#include "unbraid/data/data_hash.h"
#include "unbraid/data/data_set.h"
#include "unbraid/methods/method.h"
#include "unbraid/models/multimodal_model.h"
#include "unbraid/tasks/task.h"
#include "unbraid/training/evaluation.h"
#include "unbraid/training/run_directory.h"
#include "unbraid/training/settings.h"

namespace unbraid {

/// What is trained on what.
struct TrainingParts {
  MultimodalModel model{nullptr};
  std::shared_ptr<const Task> task;
  std::shared_ptr<Method> method;
  std::shared_ptr<const DataSet> train;
  std::shared_ptr<const DataSet> val;
  std::shared_ptr<const DataSet> test;  // may be null
  DataHash data_hash = {};              // of what the splits were read from
};

/// One epoch of training, and how the model does on val after it.
struct EpochRecord {
  int64_t epoch = 0;  // from 1
  double loss = 0;    // mean over the batches: the multimodal loss, or the unimodal ones without it
  double seconds = 0;
  double samples_per_second = 0;
  Evaluation val;
  bool best = false;
};

/// Sees a run go by; every call comes from the training thread.
class TrainingObserver {
 public:
  virtual ~TrainingObserver() = default;
  virtual void on_batch(int64_t /*epoch*/, size_t /*batch*/, size_t /*batches*/, double /*loss*/) {}
  /// Batch number `batch`, from 1, of a trial that a method makes before `epoch`.
  virtual void on_trial(int64_t /*epoch*/, int64_t /*batch*/, int64_t /*batches*/) {}
  virtual void on_epoch(const EpochRecord& /*record*/) {}
  /// Something that is not as one would expect, in a sentence.
  virtual void on_warning(const std::string& /*text*/) {}
};

struct TrainingResult {
  int64_t best_epoch = 0;
  Evaluation test;           // of the best epoch; without samples when there is no test split, or
  std::string no_test = {};  // for the reason given here
  double seconds = 0;
};

/// Trains a model by a method, validates after each epoch, keeps the last and the best checkpoint
/// (by the task's selecting metric on val, the earliest of equals; where that is NaN in every
/// epoch, the first), and reports the best one on test. With `settings.ema` it is the average of
/// the weights that is validated, kept as best and tested. A run is a function of its settings, its
/// parts and the number of compute threads: one that was killed and continued ends with the same
/// weights bit for bit.
///
/// With `resume` it continues from the last finished epoch of `directory`, or starts where none is
/// saved. Throws Error with kDiverged on a loss or gradient that is not finite, with kInterrupted
/// or kTerminated when asked to stop (core/stop.h), finished epochs being saved, and with kStorage
/// when another process trains in `directory`.
TrainingResult train(const TrainingParts& parts, const TrainingSettings& settings,
                     RunDirectory& directory, bool resume = false,
                     TrainingObserver* observer = nullptr);

}  // namespace unbraid
