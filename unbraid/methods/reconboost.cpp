#include "unbraid/methods/reconboost.h"

#include "unbraid/methods/coalitions.h"
#include "unbraid/methods/modality_scores.h"
#include "unbraid/routing/passes.h"

namespace unbraid {
namespace {

/// Probabilities [B_m, C] of the samples that have modality m, when the model has the modalities
/// `kept` alone; rows of zeros for samples that have none of them.
torch::Tensor probabilities_of(const TrainingStep& step, const std::vector<bool>& kept, size_t m) {
  const torch::NoGradGuard no_grad;
  const KeptBuffers same(step.model);
  ModalityTensors features(kept.size());
  for (size_t n = 0; n < kept.size(); ++n) {
    if (kept[n] && step.batch.inputs[n].defined()) {
      features[n] = step.model.encode(n, step.batch.inputs[n]);
    }
  }
  const Presence& presence = step.batch.presence;
  CoalitionOutput found = output_of_coalition(step.model, features, presence, kept);
  clear_autocast_cache();
  if (!found.output.defined()) {
    return {};
  }
  found.output = torch::softmax(at_least_float(found.output), 1);
  return presence.pack(found.spread(step.batch.target.size(0)), m);
}

}  // namespace

RoutedResult ReconBoost::backward(const TrainingStep& step) {
  const int64_t stage = (step.epoch - 1) / (2 * options_.passes);
  const bool second_phase = (step.epoch - 1) / options_.passes % 2 == 1;
  const auto modality = static_cast<size_t>(stage) % step.model.size();
  choices_ = {{"modality", static_cast<double>(modality)}, {"phase", second_phase ? 2 : 1}};
  return second_phase ? Method::backward(step) : boost(step, modality, stage == 0);
}

RoutedResult ReconBoost::boost(const TrainingStep& step, size_t modality, bool first_stage) const {
  const size_t modalities = step.model.size();
  RoutedResult nothing{{}, {}, ModalityTensors(modalities), ModalityTensors(modalities)};
  if (!step.batch.inputs[modality].defined()) {
    return nothing;
  }
  torch::Tensor rest;
  torch::Tensor previous;
  if (!first_stage && modalities > 1) {
    std::vector<bool> others(modalities, true);
    others[modality] = false;
    rest = probabilities_of(step, others, modality);
    std::vector<bool> one(modalities, false);
    one[(modality + modalities - 1) % modalities] = true;
    previous = probabilities_of(step, one, modality);
  }
  ModalityTensors input(modalities);
  input[modality] = step.batch.inputs[modality];
  const auto loss = [&](const torch::Tensor& output, std::optional<size_t> only) {
    const auto classes = static_cast<double>(output.size(1));
    torch::Tensor sum = options_.agreement / classes * step.loss(output, only);
    const torch::Tensor own = torch::log_softmax(output.to(sum.scalar_type()), 1);
    if (rest.defined()) {
      const torch::Tensor labels =
          step.batch.presence.pack(step.batch.target, modality).unsqueeze(1);
      sum = sum + options_.reconcilement / classes *
                      (rest.gather(1, labels) * own.gather(1, labels)).mean();
    }
    if (previous.defined()) {
      const torch::Tensor known = previous.sum(1, true) > 0;  // has the previous modality
      sum = sum + options_.consolidation * ((own.exp() - previous).square() * known).mean();
    }
    return sum;
  };
  return unbraid::routed_backward(step.model, input, step.batch.presence, loss,
                                  GradientRoute::unimodal(), step.scale);
}

std::shared_ptr<Method> ReconBoost::read(Options& options, const MethodContext& context) {
  expect_classification(options, context);
  refuse_base(options, "its second phase is to train everything by the multimodal loss");
  ReconBoostOptions read;
  read.passes = options.integer("passes", read.passes, {.min = 1, .max = 1000000});
  read.agreement = options.number("agreement", read.agreement, {.min = 0.0, .open_min = true});
  read.reconcilement = options.number("reconcilement", read.reconcilement, {.min = 0.0});
  read.consolidation = options.number("consolidation", read.consolidation, {.min = 0.0});
  return std::make_shared<ReconBoost>(read);
}

}  // namespace unbraid
