#include "unbraid/training/evaluation.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "unbraid/core/autocast.h"
#include "unbraid/core/error.h"
#include "unbraid/core/stop.h"
#include "unbraid/data/loader.h"

namespace unbraid {
namespace {

constexpr size_t kMostModalitiesOfSubsets = 12;

/// Collects the scores of one output.
class Scorer {
 public:
  explicit Scorer(const Task& task) : task_(task), metrics_(task.metrics()) {}

  void add(const torch::Tensor& output, const torch::Tensor& target) {
    const auto count = static_cast<double>(target.size(0));
    loss_ += task_.loss(output, target).item<double>() * count;
    samples_ += count;
    metrics_->update(output, target);
  }

  [[nodiscard]] size_t samples() const { return static_cast<size_t>(samples_); }
  /// Empty without samples.
  [[nodiscard]] Scores scores() const {
    if (samples_ == 0) {
      return {};
    }
    Scores scores{nan_without_sign(loss_ / samples_), metrics_->values(), metrics_->details(),
                  metrics_->smaller_is_better(), metrics_->confusion()};
    for (auto& [name, value] : scores.metrics) {
      value = nan_without_sign(value);
    }
    return scores;
  }

 private:
  const Task& task_;
  std::unique_ptr<Metrics> metrics_;
  double loss_ = 0;
  double samples_ = 0;
};

/// Scores the fused output of some of the modalities, for the samples that have one of them; where
/// there is an output `otherwise`, for the others by that.
class SubsetScorer {
 public:
  SubsetScorer(const Task& task, std::vector<bool> kept, torch::Tensor otherwise = {})
      : maps_(task.pixel_labels() != nullptr),
        scorer_(task),
        kept_(std::move(kept)),
        otherwise_(std::move(otherwise)) {}

  void add(MultimodalModelImpl& model, const Batch& batch, const ModalityTensors& features) {
    ModalityTensors left(features.size());
    bool any = false;
    for (size_t m = 0; m < features.size(); ++m) {
      if (kept_[m] && features[m].defined()) {
        left[m] = features[m];
        any = true;
      }
    }
    if (!any) {
      add_otherwise(batch.target);
      return;
    }
    const torch::Tensor rows = batch.presence.samples_with(kept_);
    if (rows.defined() && otherwise_.defined()) {
      const torch::Tensor others =
          torch::ones({batch.size()}, torch::kBool).index_fill(0, rows, false);
      add_otherwise(batch.target.index({others.to(batch.target.device())}));
    }
    scorer_.add(fuse_checked(model, batch, left, batch.presence.only(kept_)),
                rows.defined() ? batch.target.index_select(0, rows.to(batch.target.device()))
                               : batch.target);
  }

  [[nodiscard]] size_t samples() const { return scorer_.samples(); }
  [[nodiscard]] Scores scores() const { return scorer_.scores(); }
  [[nodiscard]] const std::vector<bool>& kept() const { return kept_; }

 private:
  void add_otherwise(const torch::Tensor& target) {
    if (!otherwise_.defined() || target.size(0) == 0) {
      return;
    }
    torch::Tensor output = otherwise_.to(target.device());
    std::vector<int64_t> sizes = {target.size(0), output.size(0)};
    if (maps_) {
      output = output.unsqueeze(-1).unsqueeze(-1);
      sizes.insert(sizes.end(), {target.size(1), target.size(2)});
    }
    scorer_.add(output.expand(sizes), target);
  }

  bool maps_;
  Scorer scorer_;
  std::vector<bool> kept_;
  torch::Tensor otherwise_;
};

/// What a part of the model refuses is an error of the data: it took what it was trained on.
template <typename Forward>
torch::Tensor checked(const Batch& batch, const std::string& refusal, const Forward& forward) {
  throw_if_stopped();
  try {
    return forward();
  } catch (const c10::Error& error) {
    const std::string what = error.what_without_backtrace();
    if (what.find("memory") != std::string::npos) {
      throw;
    }
    throw DataError(fmt::format("the batch from sample '{}' on: {}: {}", batch.ids.front(), refusal,
                                what.substr(0, what.find('\n'))));
  }
}

torch::Tensor encode_checked(MultimodalModelImpl& model, size_t modality, const Batch& batch) {
  const torch::Tensor& input = batch.inputs[modality];
  return checked(batch,
                 fmt::format("{}: the encoder does not take samples of [{}]", model.name(modality),
                             fmt::join(input.sizes().slice(1), ", ")),
                 [&] { return model.encode(modality, input); });
}

}  // namespace

torch::Tensor fuse_checked(MultimodalModelImpl& model, const Batch& batch,
                           const ModalityTensors& features, const Presence& presence) {
  return checked(batch, "the fusion does not take these features",
                 [&] { return model.fuse(features, presence); });
}

double nan_without_sign(double value) { return std::isnan(value) ? std::nan("") : value; }

bool Scores::better_than(double other) const {
  const double value = selecting();
  if (std::isnan(value) || std::isnan(other)) {
    return !std::isnan(value);
  }
  return smaller_is_better ? value < other : value > other;
}

Batch to_device(Batch batch, torch::Device device) {
  for (torch::Tensor& input : batch.inputs) {
    if (input.defined()) {
      input = input.to(device);
    }
  }
  batch.target = batch.target.to(device);
  return batch;
}

std::vector<SkippedSample> for_each_encoded(
    MultimodalModelImpl& model, const std::shared_ptr<const DataSet>& data,
    const TrainingSettings& settings,
    const std::function<void(const Batch& batch, const ModalityTensors& features)>& use,
    const std::vector<bool>& absent, EncodedBatches batches) {
  if (data->size() == 0) {
    return {};
  }
  const torch::NoGradGuard no_grad;
  const AutocastGuard precision(settings.device.type(), settings.bf16);
  model.eval();
  Loader loader(data, {.batch_size = settings.batch_size,
                       .workers = settings.workers,
                       .shuffle = batches.most > 0,
                       .skip_damaged = settings.skip_damaged,
                       .seed = settings.seed});
  loader.start(batches.shuffled_by);
  std::vector<SkippedSample> skipped;
  for (size_t i = 0; batches.most == 0 || i < batches.most; ++i) {
    auto next = loader.next();
    if (!next) {
      break;
    }
    throw_if_stopped();
    skipped.insert(skipped.end(), next->skipped.begin(), next->skipped.end());
    if (next->size() == 0) {
      continue;
    }
    const Batch batch = to_device(std::move(*next), settings.device);
    ModalityTensors features(model.size());
    for (size_t m = 0; m < model.size(); ++m) {
      if (batch.inputs[m].defined() && (m >= absent.size() || !absent[m])) {
        features[m] = encode_checked(model, m, batch);
      }
    }
    use(batch, features);
  }
  return skipped;
}

Evaluation evaluate(MultimodalModelImpl& model, const Task& task,
                    const std::shared_ptr<const DataSet>& data, const TrainingSettings& settings,
                    const std::vector<bool>& absent) {
  std::vector<bool> kept(model.size(), true);
  for (size_t m = 0; m < absent.size(); ++m) {
    kept.at(m) = !absent[m];
  }
  SubsetScorer fused(task, kept);
  std::vector<Scorer> alone;
  for (size_t m = 0; m < model.size(); ++m) {
    alone.emplace_back(task);
  }
  Evaluation result;
  result.skipped = for_each_encoded(
      model, data, settings,
      [&](const Batch& batch, const ModalityTensors& features) {
        fused.add(model, batch, features);
        for (size_t m = 0; m < model.size(); ++m) {
          if (features[m].defined()) {
            alone[m].add(model.alone(m, features[m]), batch.presence.pack(batch.target, m));
          }
        }
      },
      absent);
  result.samples = fused.samples();
  result.fused = fused.scores();
  for (const Scorer& scorer : alone) {
    result.alone.push_back(scorer.scores());
  }
  return result;
}

std::string why_no_samples(const Evaluation& evaluation, const DataSet& data) {
  const auto& unread = evaluation.skipped.empty() ? data.dropped() : evaluation.skipped;
  return unread.empty() ? "all lack the modalities that are left"
                        : "none can be read: " + unread.front().reason;
}

std::vector<SubsetScores> evaluate_subsets(MultimodalModelImpl& model, const Task& task,
                                           const std::shared_ptr<const DataSet>& data,
                                           const TrainingSettings& settings,
                                           const torch::Tensor& otherwise) {
  TORCH_CHECK(model.size() <= kMostModalitiesOfSubsets, "[evaluate_subsets] expected at most ",
              kMostModalitiesOfSubsets, " modalities, got ", model.size());
  std::vector<SubsetScorer> scorers;
  for (size_t count = otherwise.defined() ? 0 : 1; count <= model.size(); ++count) {
    std::vector<bool> kept(model.size(), false);
    std::fill_n(kept.begin(), count, true);
    do {
      scorers.emplace_back(task, kept, otherwise);
    } while (std::prev_permutation(kept.begin(), kept.end()));
  }
  const auto skipped = for_each_encoded(model, data, settings,
                                        [&](const Batch& batch, const ModalityTensors& features) {
                                          for (SubsetScorer& scorer : scorers) {
                                            scorer.add(model, batch, features);
                                          }
                                        });
  if (scorers.back().samples() == 0) {
    throw DataError("expected samples to evaluate, none can be read: " + skipped.front().reason);
  }
  std::vector<SubsetScores> subsets;
  for (const SubsetScorer& scorer : scorers) {
    subsets.push_back({scorer.kept(), scorer.scores(), scorer.samples()});
  }
  return subsets;
}

}  // namespace unbraid
