#include "unbraid/training/training_batches.h"

#include <algorithm>
#include <utility>

#include "unbraid/core/random.h"
#include "unbraid/core/stop.h"
#include "unbraid/training/freezing.h"

namespace unbraid {

TrainingBatches::TrainingBatches(std::shared_ptr<const DataSet> train,
                                 const TrainingSettings& settings)
    : seed_(settings.seed),
      accumulate_(settings.accumulate),
      loader_(std::move(train), {.batch_size = settings.batch_size,
                                 .workers = settings.workers,
                                 .shuffle = settings.shuffle,
                                 .drop_last = settings.drop_last,
                                 .training = true,
                                 .skip_damaged = settings.skip_damaged,
                                 .seed = settings.seed}) {}

int64_t TrainingBatches::steps() const { return (count() + accumulate_ - 1) / accumulate_; }

void TrainingBatches::for_each(uint64_t epoch, MultimodalModelImpl& model,
                               const std::function<void(TrainingBatch&&)>& use) {
  train_unfrozen(model);
  torch::manual_seed(RandomStream::of(seed_, epoch, "", "layers").bits());
  loader_.start(epoch);
  const size_t batches = loader_.batches();
  const auto accumulate = static_cast<size_t>(accumulate_);
  for (size_t i = 0; auto batch = loader_.next(); ++i) {
    throw_if_stopped();
    const size_t first_of_step = i - i % accumulate;
    const size_t share = std::min(accumulate, batches - first_of_step);
    use({.batch = std::move(*batch),
         .index = i,
         .scale = 1.0 / static_cast<double>(share),
         .ends = i + 1 == first_of_step + share});
  }
}

}  // namespace unbraid
