#include "unbraid/data/loader.h"

#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <numeric>
#include <stdexcept>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "unbraid/core/error.h"
#include "unbraid/core/random.h"
#include "unbraid/core/stop.h"

namespace unbraid {
namespace {

using Clock = std::chrono::steady_clock;

// Makes LibTorch run its operations in the calling thread alone. at::set_num_threads would change
// every other thread too; OpenMP's own setting is the thread's. It is looked up in the OpenMP
// library that LibTorch brought, whichever that is.
void use_one_thread() {
  at::get_num_threads();  // sets the thread's default at first use, so not after the next lines
  if (void* function = dlsym(RTLD_DEFAULT, "omp_set_num_threads")) {
    reinterpret_cast<void (*)(int)>(function)(1);
  }
}

std::string shape_of(const torch::Tensor& tensor) {
  return fmt::format("{} [{}]", torch::toString(tensor.scalar_type()),
                     fmt::join(tensor.sizes(), ", "));
}

// Those of `tensors` that are defined, stacked; undefined when none is. `what` names them in
// errors.
torch::Tensor stacked(const std::vector<torch::Tensor>& tensors,
                      const std::vector<std::string>& ids, const std::string& what) {
  std::vector<torch::Tensor> defined;
  size_t first = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (!tensors[i].defined()) {
      continue;
    }
    first = defined.empty() ? i : first;
    if (tensors[i].sizes() != tensors[first].sizes() ||
        tensors[i].dtype() != tensors[first].dtype()) {
      throw DataError(fmt::format("{} has the shape {} in sample '{}', but {} in sample '{}'", what,
                                  shape_of(tensors[first]), ids[first], shape_of(tensors[i]),
                                  ids[i]));
    }
    defined.push_back(tensors[i]);
  }
  return defined.empty() ? torch::Tensor() : torch::stack(defined);
}

// [B, M] bool.
torch::Tensor presence_of(const std::vector<Sample>& samples, size_t modalities) {
  torch::Tensor mask = torch::empty(
      {static_cast<int64_t>(samples.size()), static_cast<int64_t>(modalities)}, torch::kBool);
  bool* cell = mask.data_ptr<bool>();
  for (const Sample& sample : samples) {
    for (const torch::Tensor& input : sample.inputs) {
      *cell++ = input.defined();
    }
  }
  return mask;
}

Batch assembled(const std::vector<Sample>& samples, std::vector<std::string> ids) {
  if (samples.empty()) {
    return {};
  }
  const size_t modalities = samples.front().inputs.size();
  for (size_t i = 0; i < samples.size(); ++i) {
    if (samples[i].inputs.size() != modalities) {
      throw DataError(fmt::format("sample '{}' has {} inputs, but sample '{}' has {}", ids[0],
                                  modalities, ids[i], samples[i].inputs.size()));
    }
  }
  for (size_t i = 0; i < samples.size(); ++i) {
    const auto& inputs = samples[i].inputs;
    if (!samples[i].target.defined() ||
        std::none_of(inputs.begin(), inputs.end(), [](const auto& x) { return x.defined(); })) {
      throw DataError(fmt::format("sample '{}' has no {}", ids[i],
                                  samples[i].target.defined() ? "input" : "target"));
    }
  }
  Batch batch;
  std::vector<torch::Tensor> column(samples.size());
  for (size_t m = 0; m < modalities; ++m) {
    std::transform(samples.begin(), samples.end(), column.begin(),
                   [m](const Sample& sample) { return sample.inputs[m]; });
    batch.inputs.push_back(stacked(column, ids, fmt::format("input {}", m + 1)));
  }
  batch.presence = Presence(presence_of(samples, modalities));
  std::transform(samples.begin(), samples.end(), column.begin(),
                 [](const Sample& sample) { return sample.target; });
  batch.target = stacked(column, ids, "the target");
  batch.ids = std::move(ids);
  return batch;
}

}  // namespace

class Loader::Impl {
 public:
  Impl(std::shared_ptr<const DataSet> data, LoaderOptions options)
      : data_(std::move(data)), options_(options) {
    if (options_.batch_size < 1 || options_.workers < 0) {
      throw std::invalid_argument("a loader needs a batch size above 0 and no negative workers");
    }
    if (batches() == 0) {
      throw DataError(fmt::format("expected samples for a batch of {}{}, the data set has {}",
                                  options_.batch_size,
                                  options_.drop_last ? " (drop_last is set)" : "", data_->size()));
    }
    for (int i = 0; i < options_.workers; ++i) {
      workers_.emplace_back([this](const std::stop_token& stop) { work(stop); });
    }
  }

  ~Impl() {
    if (plan_ != nullptr) {
      plan_->cancelled = true;
    }
  }

  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  [[nodiscard]] size_t batches() const {
    const auto size = static_cast<size_t>(options_.batch_size);
    return options_.drop_last ? data_->size() / size : (data_->size() + size - 1) / size;
  }

  [[nodiscard]] size_t samples() const {
    return std::min(data_->size(), batches() * static_cast<size_t>(options_.batch_size));
  }

  void start(uint64_t epoch, size_t first_batch) {
    if (first_batch > batches()) {
      throw std::invalid_argument(
          fmt::format("an epoch of {} batches cannot start at {}", batches(), first_batch));
    }
    auto plan = std::make_shared<Plan>(epoch, order_of(epoch));
    {
      const std::lock_guard lock(mutex_);
      if (plan_ != nullptr) {
        plan_->cancelled = true;
      }
      plan_ = std::move(plan);
      position_ = first_batch;
      next_to_take_ = first_batch;
      finished_.clear();
    }
    work_appeared_.notify_all();
  }

  std::optional<Batch> next() {
    if (plan_ == nullptr || position_ == batches()) {
      return std::nullopt;
    }
    const Clock::time_point start = Clock::now();
    Outcome outcome = options_.workers == 0 ? outcome_of(*plan_, position_++) : take_finished();
    wait_seconds_ += std::chrono::duration<double>(Clock::now() - start).count();
    if (const auto* failure = std::get_if<std::exception_ptr>(&outcome)) {
      std::rethrow_exception(*failure);
    }
    return std::get<Batch>(std::move(outcome));
  }

  [[nodiscard]] size_t position() const { return position_; }
  [[nodiscard]] double wait_seconds() const { return wait_seconds_; }

 private:
  using Outcome = std::variant<Batch, std::exception_ptr>;

  // One epoch. A worker that is still busy with an older one is told so, and its batch is dropped.
  struct Plan {
    Plan(uint64_t plan_epoch, std::vector<size_t> plan_order)
        : epoch(plan_epoch), order(std::move(plan_order)) {}

    uint64_t epoch;
    std::vector<size_t> order;
    std::atomic<bool> cancelled = false;
  };

  [[nodiscard]] std::vector<size_t> order_of(uint64_t epoch) const {
    std::vector<size_t> order(data_->size());
    std::iota(order.begin(), order.end(), size_t{0});
    if (options_.shuffle) {
      RandomStream::of(options_.seed, epoch, "", "shuffle").shuffle(order);
    }
    return order;
  }

  [[nodiscard]] Batch load(const Plan& plan, size_t batch) const {
    const size_t first = batch * static_cast<size_t>(options_.batch_size);
    const size_t end =
        std::min(first + static_cast<size_t>(options_.batch_size), plan.order.size());
    std::vector<Sample> samples;
    std::vector<std::string> ids;
    std::vector<SkippedSample> skipped;
    for (size_t i = first; i < end && !plan.cancelled; ++i) {
      throw_if_stopped();
      const std::string& id = data_->id(plan.order[i]);
      try {
        samples.push_back(data_->get(plan.order[i], plan.epoch, options_.training));
        ids.push_back(id);
      } catch (const DataError& error) {
        if (!options_.skip_damaged) {
          throw;
        }
        skipped.push_back({id, error.what()});
      }
    }
    if (plan.cancelled) {
      return {};
    }
    Batch loaded = assembled(samples, std::move(ids));
    loaded.skipped = std::move(skipped);
    return loaded;
  }

  [[nodiscard]] Outcome outcome_of(const Plan& plan, size_t batch) const {
    try {
      const torch::NoGradGuard no_grad;
      return load(plan, batch);
    } catch (...) {
      return std::current_exception();
    }
  }

  Outcome take_finished() {
    std::unique_lock lock(mutex_);
    batch_appeared_.wait(lock, [this] { return finished_.contains(position_); });
    Outcome outcome = std::move(finished_.extract(position_).mapped());
    ++position_;
    lock.unlock();
    work_appeared_.notify_one();
    return outcome;
  }

  // Whether a batch is left to decode and not too far ahead of the consumer.
  [[nodiscard]] bool has_work() const {
    return plan_ != nullptr && next_to_take_ < batches() &&
           next_to_take_ <= position_ + static_cast<size_t>(options_.workers);
  }

  void work(const std::stop_token& stop) {
    use_one_thread();
    std::unique_lock lock(mutex_);
    while (work_appeared_.wait(lock, stop, [this] { return has_work(); }) &&
           !stop.stop_requested()) {
      const std::shared_ptr<Plan> plan = plan_;
      const size_t batch = next_to_take_++;
      lock.unlock();
      Outcome outcome = outcome_of(*plan, batch);
      lock.lock();
      if (plan == plan_) {
        finished_.emplace(batch, std::move(outcome));
        batch_appeared_.notify_one();
      }
    }
  }

  const std::shared_ptr<const DataSet> data_;
  const LoaderOptions options_;
  double wait_seconds_ = 0;

  std::mutex mutex_;  // of what follows; plan_ and position_ are written by the consumer alone
  std::condition_variable_any work_appeared_;
  std::condition_variable batch_appeared_;
  std::shared_ptr<Plan> plan_;
  size_t position_ = 0;
  size_t next_to_take_ = 0;
  std::map<size_t, Outcome> finished_;
  std::vector<std::jthread> workers_;  // last, so that they end before what they use
};

Loader::Loader(std::shared_ptr<const DataSet> data, LoaderOptions options)
    : impl_(std::make_unique<Impl>(std::move(data), options)) {}

Loader::~Loader() = default;

size_t Loader::batches() const { return impl_->batches(); }
size_t Loader::samples() const { return impl_->samples(); }
void Loader::start(uint64_t epoch, size_t first_batch) { impl_->start(epoch, first_batch); }
std::optional<Batch> Loader::next() { return impl_->next(); }
size_t Loader::position() const { return impl_->position(); }
double Loader::wait_seconds() const { return impl_->wait_seconds(); }

}  // namespace unbraid
