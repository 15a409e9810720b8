#include "unbraid/methods/cml.h"

#include <numeric>

#include "unbraid/core/random.h"
#include "unbraid/methods/coalitions.h"
#include "unbraid/methods/modality_scores.h"
#include "unbraid/routing/encoded_batch.h"
#include "unbraid/routing/passes.h"

namespace unbraid {
namespace {

/// [B], of logits [B, C].
torch::Tensor confidence(const torch::Tensor& logits) {
  return std::get<0>(torch::softmax(at_least_float(logits), 1).max(1));
}

}  // namespace

std::vector<size_t> Cml::order(uint64_t seed, int64_t epoch, size_t modalities) {
  std::vector<size_t> order(modalities);
  std::iota(order.begin(), order.end(), size_t{0});
  RandomStream::of(seed, static_cast<uint64_t>(epoch), "", "cml order").shuffle(order);
  return order;
}

RoutedResult Cml::backward(const TrainingStep& step) {
  const size_t modalities = step.model.size();
  EncodedBatch encoded(step.model, step.batch.inputs);
  const torch::Tensor output = step.model.fuse(encoded.features(), step.batch.presence);
  const torch::Tensor loss = step.loss(output);
  const torch::Tensor full = confidence(output);

  torch::Tensor losses = loss;
  torch::Tensor penalty = torch::zeros({}, full.options());
  std::vector<bool> kept(modalities, true);
  std::vector<size_t> removed = order(step.seed, step.epoch, modalities);
  removed.pop_back();
  for (const size_t m : removed) {
    kept[m] = false;
    const CoalitionOutput partial =
        output_of_coalition(step.model, encoded.features(), step.batch.presence, kept);
    if (!partial.output.defined()) {
      continue;
    }
    losses = losses + step.task.loss(partial.output, partial.pack(step.batch.target));
    const torch::Tensor rise = confidence(partial.output) - partial.pack(full);
    penalty = penalty + (batch_hinge_ ? rise.sum().relu() : rise.relu().mean());
  }
  const torch::Tensor total = losses / static_cast<double>(modalities) + penalty * lambda_;
  if (total.requires_grad()) {
    run_backward(total, torch::full_like(total, step.scale));
  }
  encoded.backward();
  choices_ = {{"penalty", penalty.item<double>()}};
  return {.output = output.detach(),
          .loss = loss.detach(),
          .output_alone = ModalityTensors(modalities),
          .loss_alone = ModalityTensors(modalities)};
}

std::shared_ptr<Method> Cml::read(Options& options, const MethodContext& context) {
  expect_classification(options, context);
  expect_several_modalities(options, context);
  refuse_base(options,
              "the outputs that it compares are of several modalities, from which "
              "disentangled no encoder learns");
  const double lambda = options.number("lambda", 0.1, {.min = 0.0});
  const bool batch = options.choice("hinge", {"sample", "batch"}, "sample") == "batch";
  return std::make_shared<Cml>(lambda, batch);
}

}  // namespace unbraid
