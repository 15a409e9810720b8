#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "unbraid/core/batch.h"
#include "unbraid/data/data_set.h"

namespace unbraid {

struct LoaderOptions {
  int64_t batch_size = 64;
  int workers = 2;         // threads that decode ahead; 0 decodes in the caller's thread
  bool shuffle = false;    // a permutation that is a function of (seed, epoch)
  bool drop_last = false;  // leave out a last batch of fewer than batch_size samples
  bool training = false;   // random augmentation on
  /// A sample that cannot be read is left out of its batch, which is then smaller, and listed
  /// there; otherwise its DataError is thrown.
  bool skip_damaged = false;
  uint64_t seed = 0;
};

/// Batches of one epoch after another, decoded ahead by worker threads, in an order and with
/// content that do not depend on the number of workers. A sample that fails throws its DataError
/// from `next` at its own position, unless it is to be skipped; so does a stop that was asked for
/// (core/stop.h). One consumer thread.
class Loader {
 public:
  /// Throws DataError when no batch would come out (an empty set, or one smaller than batch_size
  /// with drop_last).
  Loader(std::shared_ptr<const DataSet> data, LoaderOptions options);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  [[nodiscard]] size_t batches() const;
  [[nodiscard]] size_t samples() const;  // in an epoch, after drop_last
  /// Starts `epoch` at `first_batch`, at most batches(), discarding what was prefetched.
  void start(uint64_t epoch, size_t first_batch = 0);
  /// The next batch, or nothing at the end of the epoch and before the first start.
  std::optional<Batch> next();
  /// Batches handed out since the start of this epoch, `first_batch` included.
  [[nodiscard]] size_t position() const;
  /// Seconds that `next` waited for the workers since construction, or decoded itself without any.
  [[nodiscard]] double wait_seconds() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace unbraid
