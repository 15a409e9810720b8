#include "unbraid/training/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <exception>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "unbraid/core/autocast.h"
#include "unbraid/core/process.h"
#include "unbraid/training/epoch_means.h"
#include "unbraid/training/probing.h"
#include "unbraid/training/quarantine.h"
#include "unbraid/training/run_summary.h"
#include "unbraid/training/training_batches.h"
#include "unbraid/training/trial.h"
#include "unbraid/training/weight_average.h"

namespace unbraid {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

bool is_stop(const Error& error) {
  return error.code() == ExitCode::kInterrupted || error.code() == ExitCode::kTerminated;
}

class Training {
 public:
  Training(const TrainingParts& parts, const TrainingSettings& settings, RunDirectory& directory,
           TrainingObserver* observer)
      : parts_(parts),
        model_(*parts.model.ptr()),
        settings_(settings),
        directory_(directory),
        lock_(directory.lock()),
        observer_(observer),
        optimizer_(settings.optimizer, parts.model->named_parameters()),
        batches_(parts.train, settings),
        quarantine_(directory, settings.max_skipped) {
    if (settings.ema > 0) {
      average_ = std::make_unique<WeightAverage>(model_, settings.ema);
    }
  }

  TrainingResult run(bool resume) {
    const auto start = Clock::now();
    reset_peak_memory();
    quarantine_.forget("test");
    for (const auto& [name, split] : splits()) {
      quarantine_.add(name, split->dropped(), samples_of(*split));
    }
    if (resume && RunDirectory::holds_run(directory_.path())) {
      state_ = directory_.load("last", model_, &optimizer_, average_.get());
      parts_.method->load_state(state_.method);
      tested_ = directory_.forget_metrics_after(state_.epoch);
      warn_of_other_data();
    } else {
      save("last");
    }
    if (settings_.tensorboard) {
      directory_.keep_events();
    }
    try {
      while (state_.epoch < settings_.epochs) {
        run_epoch();
      }
      TrainingResult result = finish();
      result.seconds = seconds_since(start);
      return result;
    } catch (const Error& error) {
      if (!is_stop(error)) {
        throw;
      }
      const std::string path = directory_.path().string();
      throw Error(error.code(),
                  fmt::format("{}; {} of {} epochs are saved in {}; \"unbraid train "
                              "{}/recipe.toml --resume\" continues",
                              error.what(), state_.epoch, settings_.epochs, path, path));
    }
  }

 private:
  /// Those that there are.
  [[nodiscard]] std::vector<std::pair<std::string, std::shared_ptr<const DataSet>>> splits() const {
    std::vector<std::pair<std::string, std::shared_ptr<const DataSet>>> present = {
        {"train", parts_.train}, {"val", parts_.val}};
    if (parts_.test != nullptr) {
      present.emplace_back("test", parts_.test);
    }
    return present;
  }

  static size_t samples_of(const DataSet& split) { return split.size() + split.dropped().size(); }

  Evaluation scored(const std::string& name, const std::shared_ptr<const DataSet>& split) {
    Evaluation evaluation = evaluate(model_, *parts_.task, split, settings_);
    quarantine_.add(name, evaluation.skipped, samples_of(*split));
    return evaluation;
  }

  void save(const std::string& name) {
    state_.method = parts_.method->state();
    state_.data = parts_.data_hash;
    directory_.save(name, model_, optimizer_, state_, average_.get());
  }

  void warn_of_other_data() const {
    const std::string what =
        state_.data.manifest.empty() ? "" : difference_of_data(parts_.data_hash, state_.data);
    if (observer_ != nullptr && !what.empty()) {
      observer_->on_warning(
          fmt::format("the data has changed since epoch {}: the {} differ", state_.epoch, what));
    }
  }

  Evaluation validated() {
    const AveragedWeights averaged(average_.get());
    Evaluation evaluation = scored("val", parts_.val);
    if (evaluation.samples == 0) {
      throw DataError("expected samples of the split val, " +
                      why_no_samples(evaluation, *parts_.val));
    }
    return evaluation;
  }

  void run_epoch() {
    const auto start = Clock::now();
    EpochMeans means(model_.size());
    train_epoch(means);
    const double seconds = seconds_since(start);
    train_seconds_ += seconds;
    EpochRecord record{
        .epoch = state_.epoch + 1,
        .loss = means.loss(),
        .seconds = seconds,
        .samples_per_second = static_cast<double>(means.samples()) / seconds,
        .val = validated(),
    };
    if (!std::isfinite(record.val.fused.loss)) {
      throw diverged(fmt::format("the loss on val is {}", record.val.fused.loss));
    }
    state_.epoch = record.epoch;
    record.best = state_.best_epoch == 0 || record.val.fused.better_than(state_.best_value);
    json train_line = means.to_json(model_);
    if (const auto choices = parts_.method->choices(); !choices.empty()) {
      train_line["method"] = choices;
    }
    train_line.update({{"epoch", record.epoch},
                       {"split", "train"},
                       {"lr", lr_},
                       {"seconds", record.seconds},
                       {"samples_per_second", record.samples_per_second}});
    directory_.append_metrics(train_line);
    append_evaluation(record.epoch, "val", record.val);
    append_probes(record.epoch);
    if (record.best) {
      state_.best_epoch = record.epoch;
      state_.best_value = record.val.fused.selecting();
      save("best");
    }
    save("last");
    if (observer_ != nullptr) {
      observer_->on_epoch(record);
    }
  }

  void begin_epoch() {
    parts_.method->begin_epoch(
        {.model = model_,
         .seed = settings_.seed,
         .epoch = state_.epoch + 1,
         .epochs = settings_.epochs,
         .count = batches_.count(),
         .task = parts_.task.get(),
         .for_each_encoded =
             [this](const FeaturePass& pass, const auto& use) {
               for_each_encoded(
                   model_, pass.of_val ? parts_.val : parts_.train, settings_, use, {},
                   {.most = pass.batches, .shuffled_by = static_cast<uint64_t>(state_.epoch)});
             },
         .try_out =
             [this](const Trial& trial) {
               run_trial(parts_, settings_, state_, trial, observer_);
             }});
  }

  void train_epoch(EpochMeans& means) {
    begin_epoch();
    const auto count = static_cast<size_t>(batches_.count());
    batches_.for_each(static_cast<uint64_t>(state_.epoch), model_, [&](TrainingBatch&& given) {
      const auto start = Clock::now();
      quarantine_.add("train", given.batch.skipped, samples_of(*parts_.train));
      const double loss = given.batch.size() == 0
                              ? means.loss()
                              : backward(to_device(std::move(given.batch), settings_.device),
                                         given.index, given.scale, means);
      if (given.ends) {
        update(means);
      }
      step_seconds_.push_back(seconds_since(start));
      if (observer_ != nullptr) {
        observer_->on_batch(state_.epoch + 1, given.index + 1, count, loss);
      }
    });
  }

  double backward(const Batch& batch, size_t index, double scale, EpochMeans& means) {
    const AutocastGuard precision(settings_.device.type(), settings_.bf16);
    const RoutedResult result = parts_.method->backward({.model = model_,
                                                         .batch = batch,
                                                         .task = *parts_.task,
                                                         .scale = scale,
                                                         .seed = settings_.seed,
                                                         .epoch = state_.epoch + 1,
                                                         .index = static_cast<int64_t>(index),
                                                         .count = batches_.count(),
                                                         .update = [&] { optimizer_step(means); }});
    check_finite(result.loss, "the loss", batch);
    for (size_t m = 0; m < result.loss_alone.size(); ++m) {
      check_finite(result.loss_alone[m], "the unimodal loss of " + model_.name(m), batch);
    }
    means.add(result, batch.size());
    return result.loss.defined() ? result.loss.item<double>() : means.loss();
  }

  void optimizer_step(EpochMeans& means) {
    const auto norms = gradient_norms(model_);
    means.add_norms(norms);
    const double norm = norms.at("");
    if (!std::isfinite(norm)) {
      throw diverged("the gradient is not finite");
    }
    lr_ = learning_rate(settings_.schedule, settings_.optimizer.lr, state_.step, batches_.steps(),
                        settings_.epochs);
    optimizer_.step(lr_, clip_factor(norm, settings_.clip_norm));
    optimizer_.zero_grad();
  }

  void update(EpochMeans& means) {
    optimizer_step(means);
    ++state_.step;
    if (average_ != nullptr) {
      average_->update(state_.step);
    }
  }

  void check_finite(const torch::Tensor& loss, const std::string& which, const Batch& batch) const {
    if (loss.defined() && !std::isfinite(loss.item<double>())) {
      const size_t shown = std::min<size_t>(batch.ids.size(), 4);
      throw diverged(fmt::format(
          "{} is {} for the batch of {}{}", which, nan_without_sign(loss.item<double>()),
          fmt::join(batch.ids.begin(), batch.ids.begin() + static_cast<std::ptrdiff_t>(shown),
                    ", "),
          batch.ids.size() > shown ? ", …" : ""));
    }
  }

  [[nodiscard]] Error diverged(const std::string& what) const {
    return {ExitCode::kDiverged,
            fmt::format("training diverged in epoch {} at step {}: {}; a lower optimizer.lr or a "
                        "train.clip_norm may help",
                        state_.epoch + 1, state_.step, what)};
  }

  void append_evaluation(int64_t epoch, const char* split, const Evaluation& evaluation) {
    json line = to_json(evaluation, model_);
    line.update({{"epoch", epoch}, {"split", split}});
    directory_.append_metrics(line);
  }

  void append_probes(int64_t epoch) {
    if (settings_.probe_batches > 0) {
      directory_.append_probes(
          {{"epoch", epoch},
           {"modalities", unbraid::to_json(probe_gradients(model_, *parts_.task, parts_.train,
                                                           settings_, settings_.probe_batches),
                                           model_)}});
    }
  }

  TrainingResult finish() {
    const RunState best = directory_.load("best", model_, nullptr);
    TrainingResult result{.best_epoch = best.epoch, .test = {}};
    std::exception_ptr failure;
    if (parts_.test != nullptr) {
      failure = test(best.epoch, result);
    }
    const bool continued = step_seconds_.empty() && directory_.has_summary();
    json summary = continued ? directory_.summary()
                             : summary_of(parts_, settings_, best, directory_.recipe_hash());
    if (!continued) {
      summary["peak_rss_mb"] = peak_memory_mb();
      add_times(summary);
    } else if (!summary.contains("no_test") && result.test.samples == 0) {
      // It was finished before, and stays so.
      if (!tested_.is_null()) {
        directory_.append_metrics(tested_);
      }
      if (failure != nullptr) {
        std::rethrow_exception(failure);
      }
      return result;
    }
    summary["quarantined"] = quarantine_.counts();
    summary.erase("no_test");
    for (const auto& [part, hash] : parts_.data_hash.files) {
      if (part.ends_with("/test")) {  // what it is tested on now
        summary["files_hash"][part] = hash;
      }
    }
    if (!result.no_test.empty()) {
      summary["no_test"] = result.no_test;
    } else if (result.test.samples > 0) {
      summary.update(test_summary_of(result.test, model_));
    }
    directory_.write_summary(summary);
    if (failure != nullptr) {
      std::rethrow_exception(failure);
    }
    return result;
  }

  /// Scores test. Where its samples cannot be read, `result` says why, and the failure is returned:
  /// what was trained is summed up all the same.
  std::exception_ptr test(int64_t epoch, TrainingResult& result) {
    try {
      result.test = scored("test", parts_.test);
    } catch (const DataError& error) {
      result.no_test = error.what();
      return std::current_exception();
    }
    if (result.test.samples == 0) {
      result.no_test = why_no_samples(result.test, *parts_.test);
    } else {
      append_evaluation(epoch, "test", result.test);
    }
    return nullptr;
  }

  void add_times(json& summary) {
    if (!step_seconds_.empty()) {
      const auto middle =
          step_seconds_.begin() + static_cast<std::ptrdiff_t>(step_seconds_.size() / 2);
      std::nth_element(step_seconds_.begin(), middle, step_seconds_.end());
      summary["step_seconds_median"] = *middle;
      summary["loader_wait_fraction"] = batches_.wait_seconds() / train_seconds_;
    }
  }

  const TrainingParts& parts_;
  MultimodalModelImpl& model_;
  const TrainingSettings& settings_;
  RunDirectory& directory_;
  FileDescriptor lock_;
  TrainingObserver* observer_;
  Optimizer optimizer_;
  std::unique_ptr<WeightAverage> average_;  // null without train.ema
  TrainingBatches batches_;
  Quarantine quarantine_;
  RunState state_;
  json tested_;  // the line of test that a run has which continues; null without one
  double lr_ = 0;
  double train_seconds_ = 0;
  std::vector<double> step_seconds_;
};

}  // namespace

TrainingResult train(const TrainingParts& parts, const TrainingSettings& settings,
                     RunDirectory& directory, bool resume, TrainingObserver* observer) {
  if (settings.device.is_cuda()) {  // what repeats bit for bit, in the precision that was asked for
    at::globalContext().setDeterministicCuDNN(true);
    at::globalContext().setBenchmarkCuDNN(false);
    at::globalContext().setAllowTF32CuDNN(false);
  }
  return Training(parts, settings, directory, observer).run(resume);
}

}  // namespace unbraid
