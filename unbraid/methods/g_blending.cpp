#include "unbraid/methods/g_blending.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "unbraid/methods/modality_scores.h"

namespace unbraid {
namespace {

/// The mean loss over the samples of val or train of each modality alone and, last, of the fused
/// output; NaN without samples.
std::vector<double> losses_on(const EpochStart& start, bool of_val) {
  const size_t modalities = start.model.size();
  std::vector<double> sums(modalities + 1, 0.0);
  std::vector<double> counts(modalities + 1, 0.0);
  start.for_each_encoded({.of_val = of_val}, [&](const Batch& batch,
                                                 const ModalityTensors& features) {
    const auto add = [&](size_t part, const torch::Tensor& output, const torch::Tensor& target) {
      const auto samples = static_cast<double>(target.size(0));
      sums[part] += start.task->loss(output, target).item<double>() * samples;
      counts[part] += samples;
    };
    for (size_t m = 0; m < modalities; ++m) {
      if (features[m].defined()) {
        add(m, start.model.alone(m, features[m]), batch.presence.pack(batch.target, m));
      }
    }
    add(modalities, start.model.fuse(features, batch.presence), batch.target);
  });
  for (size_t part = 0; part < sums.size(); ++part) {
    sums[part] = counts[part] == 0 ? std::nan("") : sums[part] / counts[part];
  }
  return sums;
}

/// Learns from the loss of one part alone.
RoutedResult backward_of(size_t part, const TrainingStep& step) {
  const size_t modalities = step.model.size();
  if (part == modalities) {
    return routed_backward(step, GradientRoute::joint());
  }
  ModalityTensors input(modalities);
  input[part] = step.batch.inputs[part];
  return unbraid::routed_backward(
      step.model, input, step.batch.presence,
      [&](const torch::Tensor& output, std::optional<size_t> only) {
        return step.loss(output, only);
      },
      GradientRoute::unimodal(), step.scale);
}

}  // namespace

GBlending::GBlending(int64_t super_epoch, std::vector<std::string> modalities)
    : super_epoch_(super_epoch),
      modalities_(std::move(modalities)),
      weights_(modalities_.size() + 1, 1.0 / static_cast<double>(modalities_.size() + 1)) {}

GradientRoute GBlending::route() const {
  const std::vector<double> alone(weights_.begin(), weights_.end() - 1);
  return {.multimodal_to_encoder = weights_.back(),
          .multimodal_to_fusion = weights_.back(),
          .unimodal_to_encoder = alone,
          .unimodal_to_fusion = alone};
}

std::string GBlending::name_of(size_t part) const {
  return part < modalities_.size() ? modalities_[part] : "fused";
}

std::vector<double> GBlending::weights(const std::vector<double>& gains,
                                       const std::vector<double>& growths) {
  constexpr double kLeastGrowth = 1e-4;
  std::vector<double> weights(gains.size(), 0.0);
  double sum = 0;
  double known = 0;
  for (size_t k = 0; k < gains.size(); ++k) {
    if (std::isfinite(gains[k] + growths[k])) {
      const double growth = std::max(std::abs(growths[k]), kLeastGrowth);
      weights[k] = std::abs(gains[k]) / (growth * growth);
      sum += weights[k];
      ++known;
    }
  }
  for (size_t k = 0; k < gains.size(); ++k) {
    const bool is_known = std::isfinite(gains[k] + growths[k]);
    weights[k] = sum > 0 ? weights[k] / sum : is_known ? 1 / known : 0.0;
  }
  return weights;
}

void GBlending::begin_epoch(const EpochStart& start) {
  choices_.clear();
  if ((start.epoch - 1) % super_epoch_ == 0) {
    estimate(start);
  } else if (!known_) {
    throw StorageError("[g-blending] expected a checkpoint with weights, got one without");
  }
  for (size_t part = 0; part < weights_.size(); ++part) {
    choices_["weight." + name_of(part)] = weights_[part];
  }
}

void GBlending::estimate(const EpochStart& start) {
  const std::vector<double> train = losses_on(start, false);
  const std::vector<double> val = losses_on(start, true);
  std::vector<double> gains(weights_.size());
  std::vector<double> growths(weights_.size());
  for (size_t part = 0; part < weights_.size(); ++part) {
    start.try_out({.epochs = std::min(super_epoch_, start.epochs - start.epoch + 1),
                   .backward = [&](const TrainingStep& step) { return backward_of(part, step); },
                   .look =
                       [&] {
                         const double train_after = losses_on(start, false)[part];
                         const double val_after = losses_on(start, true)[part];
                         gains[part] = val[part] - val_after;
                         growths[part] = (val_after - train_after) - (val[part] - train[part]);
                       }});
    if (std::isfinite(gains[part] + growths[part])) {
      choices_["gain." + name_of(part)] = gains[part];
      choices_["overfitting." + name_of(part)] = growths[part];
    }
  }
  weights_ = weights(gains, growths);
  known_ = true;
}

NamedTensors GBlending::state() const {
  return known_ ? NamedTensors{{"weights", torch::tensor(weights_, torch::kDouble)}}
                : NamedTensors{};
}

void GBlending::load_state(const NamedTensors& state) {
  known_ = !state.empty();
  if (!known_) {
    return;
  }
  const torch::Tensor loaded = state.front().second.cpu().to(torch::kDouble).contiguous();
  if (loaded.dim() != 1 || loaded.numel() != static_cast<int64_t>(weights_.size())) {
    throw StorageError(fmt::format(
        "the state of the method g-blending is of other modalities: expected {} weights, found {}",
        weights_.size(), loaded.numel()));
  }
  weights_.assign(loaded.data_ptr<double>(), loaded.data_ptr<double>() + loaded.numel());
}

std::shared_ptr<Method> GBlending::read(Options& options, const MethodContext& context) {
  expect_several_modalities(options, context);
  refuse_base(options,
              "its weights balance the multimodal loss against the unimodal ones in the "
              "same parameters, and disentangled none learns from both");
  return std::make_shared<GBlending>(options.integer("super_epoch", 10, {.min = 1, .max = 1000000}),
                                     context.modalities);
}

}  // namespace unbraid
