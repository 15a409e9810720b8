#include "unbraid/methods/opm.h"

#include <algorithm>
#include <cmath>

#include "unbraid/methods/modality_scores.h"
#include "unbraid/routing/encoded_batch.h"
#include "unbraid/routing/passes.h"

namespace unbraid {
namespace {

/// What is left of a batch.
struct Remainder {
  ModalityTensors features;
  Presence presence;
  torch::Tensor target;
};

torch::Tensor indices(const torch::Tensor& chosen, const torch::Tensor& like) {
  return chosen.nonzero().flatten().to(like.device());
}

/// Drops features [B_m, …] with the probabilities `rates`, drawn from torch's generator, and
/// divides what stays by `divisor`; everything stays as it is where no sample would.
Remainder drop(const ModalityTensors& features, const Batch& batch,
               const std::vector<double>& rates, double divisor) {
  const auto modalities = static_cast<int64_t>(features.size());
  torch::Tensor had = batch.presence.complete()
                          ? torch::ones({batch.target.size(0), modalities}, torch::kBool)
                          : batch.presence.mask().clone();
  for (size_t m = 0; m < features.size(); ++m) {
    if (!features[m].defined()) {
      had.select(1, static_cast<int64_t>(m)).fill_(false);
    }
  }
  const torch::Tensor kept =
      had & (torch::rand(had.sizes(), torch::kDouble) >= torch::tensor(rates, torch::kDouble));
  const torch::Tensor samples = kept.any(1);
  if (!samples.any().item<bool>()) {
    return {features, batch.presence, batch.target};
  }
  const torch::Tensor rows = indices(samples, kept);
  Remainder left{ModalityTensors(features.size()), Presence(kept.index_select(0, rows)),
                 batch.target.index_select(0, rows.to(batch.target.device()))};
  for (size_t m = 0; m < features.size(); ++m) {
    const auto column = static_cast<int64_t>(m);
    const torch::Tensor of_packed =
        kept.select(1, column).index_select(0, indices(had.select(1, column), kept));
    if (of_packed.any().item<bool>()) {
      left.features[m] = features[m].index_select(0, indices(of_packed, features[m])) / divisor;
    }
  }
  return left;
}

}  // namespace

std::vector<double> Opm::drop_rates(const std::vector<double>& scores, double rate, double alpha) {
  double sum = 0;
  for (const double score : scores) {
    sum += std::isnan(score) ? 0.0 : score;
  }
  std::vector<double> rates(scores.size(), 0.0);
  for (size_t m = 0; m < scores.size(); ++m) {
    const double others = sum - scores[m];
    if (!std::isnan(scores[m]) && others > 0 && scores[m] > others) {
      rates[m] = std::min(1.0, rate * (1 + alpha * std::tanh(scores[m] / others - 1)));
    }
  }
  return rates;
}

RoutedResult Opm::backward(const TrainingStep& step) {
  choices_.clear();
  if (!options_.window.holds(step.epoch) ||
      torch::rand({1}).item<double>() >= options_.probability) {
    return Method::backward(step);
  }
  const size_t modalities = step.model.size();
  const Presence& presence = step.batch.presence;
  EncodedBatch encoded(step.model, step.batch.inputs);
  const ModalityTensors& features = encoded.features();

  const ModalityTensors alone = outputs_alone(step.model, features);
  const torch::Tensor fused = output_of_all(step.model, features, presence);
  const auto rates = drop_rates(true_class_probabilities(shares_of_output(alone, fused, presence),
                                                         step.batch.target, presence),
                                options_.rate, options_.alpha);
  double dropped = 0;
  double size = 0;
  for (size_t m = 0; m < modalities; ++m) {
    if (features[m].defined()) {
      const auto own = static_cast<double>(features[m].numel() / features[m].size(0));
      dropped += own * rates[m];
      size += own;
    }
    choices_["drop." + step.model.name(m)] = rates[m];
  }
  constexpr double kTiny = 1e-5;  // as released: theta may be 1
  const Remainder left = drop(features, step.batch, rates, 1 - dropped / size + kTiny);

  const torch::Tensor loss =
      step.task.loss(step.model.fuse(left.features, left.presence), left.target);
  if (loss.requires_grad()) {
    run_backward(loss, torch::full_like(loss, step.scale));
  }
  encoded.backward();
  return {.output = fused,
          .loss = loss.detach(),
          .output_alone = alone,
          .loss_alone = ModalityTensors(modalities)};
}

std::shared_ptr<Method> Opm::read(Options& options, const MethodContext& context) {
  expect_classification(options, context);
  expect_several_modalities(options, context);
  refuse_base(options,
              "what it drops changes the multimodal output alone, from which disentangled "
              "no encoder learns");
  OpmOptions read;
  read.rate = options.number("rate", read.rate, {.min = 0.0, .max = 1.0});
  read.alpha = options.number("alpha", read.alpha, {.min = 0.0});
  read.probability = options.number("probability", read.probability, {.min = 0.0, .max = 1.0});
  read.window = EpochWindow::read(options, read.window);
  return std::make_shared<Opm>(read);
}

}  // namespace unbraid
