#include "unbraid/methods/agm.h"

#include <bit>
#include <cmath>

#include <fmt/format.h>

#include "unbraid/methods/coalitions.h"
#include "unbraid/methods/modality_scores.h"
#include "unbraid/routing/encoded_batch.h"
#include "unbraid/routing/passes.h"

namespace unbraid {
namespace {

constexpr size_t kMostModalities = 6;

bool holds(size_t coalition, size_t m) { return ((coalition >> m) & 1U) != 0; }

/// What F(S) weighs in the Shapley value of modality m among `modalities`, S as a set of bits.
double shapley_weight(size_t coalition, size_t m, size_t modalities) {
  const bool with = holds(coalition, m);
  const auto others = static_cast<double>(std::popcount(coalition) - (with ? 1 : 0));
  const auto all = static_cast<double>(modalities);
  const double weight =
      std::exp(std::lgamma(others + 1) + std::lgamma(all - others) - std::lgamma(all + 1));
  return with ? weight : -weight;
}

/// The outputs of every coalition as [B, C] in at least float, undefined where it has no sample,
/// and what they say together.
class Coalitions {
 public:
  Coalitions(MultimodalModelImpl& model, const ModalityTensors& features, const Batch& batch)
      : modalities_(features.size()), outputs_(size_t{1} << modalities_) {
    const size_t all = outputs_.size() - 1;
    // The full one first, whose statistics stay; those of the others are put back.
    add(model, features, batch, all);
    kept_ = std::make_unique<KeptBuffers>(model.fusion());
    for (size_t coalition = 1; coalition < all; ++coalition) {
      add(model, features, batch, coalition);
    }
  }

  [[nodiscard]] const torch::Tensor& fused() const { return outputs_.back(); }

  /// sum over m of weights[m] m_m, [B, C].
  [[nodiscard]] torch::Tensor sum_of_values(const std::vector<double>& weights) const {
    torch::Tensor sum;
    for (size_t coalition = 1; coalition < outputs_.size(); ++coalition) {
      double weight = 0;
      for (size_t m = 0; m < modalities_; ++m) {
        weight += weights[m] * shapley_weight(coalition, m, modalities_);
      }
      if (outputs_[coalition].defined() && std::abs(weight) > kNothing) {
        const torch::Tensor part = outputs_[coalition] * weight;
        sum = sum.defined() ? sum + part : part;
      }
    }
    return sum;
  }

  /// m_m without graph.
  [[nodiscard]] torch::Tensor value(size_t m) const {
    const torch::NoGradGuard no_grad;
    std::vector<double> weights(modalities_, 0.0);
    weights[m] = 1.0;
    return sum_of_values(weights);
  }

 private:
  static constexpr double kNothing = 1e-12;  // of rounding where weights cancel

  void add(MultimodalModelImpl& model, const ModalityTensors& features, const Batch& batch,
           size_t coalition) {
    std::vector<bool> members(modalities_);
    for (size_t m = 0; m < modalities_; ++m) {
      members[m] = holds(coalition, m);
    }
    const CoalitionOutput found = output_of_coalition(model, features, batch.presence, members);
    if (found.output.defined()) {
      outputs_[coalition] = at_least_float(found.spread(batch.target.size(0)));
    }
  }

  size_t modalities_;
  ModalityTensors outputs_;  // by coalition as a set of bits
  std::unique_ptr<KeptBuffers> kept_;
};

/// The mean over the samples of -ln(max(p(label), 1e-8)) of `logits` [B_m, C], for each modality;
/// NaN where it is undefined.
std::vector<double> cross_entropies(const ModalityTensors& logits, const torch::Tensor& target,
                                    const Presence& presence) {
  constexpr double kFloor = 1e-8;
  std::vector<double> means(logits.size(), std::nan(""));
  for (size_t m = 0; m < logits.size(); ++m) {
    if (logits[m].defined()) {
      const torch::Tensor labels = presence.pack(target, m).unsqueeze(1);
      const torch::Tensor of_label = torch::log_softmax(logits[m], 1).gather(1, labels);
      means[m] = -of_label.clamp_min(std::log(kFloor)).mean().item<double>();
    }
  }
  return means;
}

/// exp(n / (n - 1) (mean - score)) of each of the n scores that are `taken`, 1 for the others.
std::vector<double> ratios(const std::vector<double>& scores, const std::vector<bool>& taken) {
  double sum = 0;
  int count = 0;
  for (size_t m = 0; m < scores.size(); ++m) {
    if (taken[m]) {
      sum += scores[m];
      ++count;
    }
  }
  std::vector<double> result(scores.size(), 1.0);
  for (size_t m = 0; m < scores.size() && count > 1; ++m) {
    if (taken[m]) {
      result[m] = std::exp((sum - count * scores[m]) / (count - 1));
    }
  }
  return result;
}

}  // namespace

Agm::Agm(const AgmOptions& options, size_t modalities)
    : options_(options), means_(modalities, std::nan("")), steps_(modalities, 0.0) {}

std::vector<double> Agm::coefficients(const std::vector<double>& scores,
                                      const std::vector<double>& means, double alpha, double cap) {
  std::vector<bool> taken(scores.size());
  for (size_t m = 0; m < scores.size(); ++m) {
    taken[m] = !std::isnan(scores[m]) && !std::isnan(means[m]);
  }
  const std::vector<double> now = ratios(scores, taken);
  const std::vector<double> usual = ratios(means, taken);
  std::vector<double> kappa(scores.size());
  for (size_t m = 0; m < scores.size(); ++m) {
    kappa[m] = std::exp(alpha * std::min(usual[m] - now[m], cap));
  }
  return kappa;
}

RoutedResult Agm::backward(const TrainingStep& step) {
  choices_.clear();
  if (!options_.window.holds(step.epoch)) {
    return Method::backward(step);
  }
  const size_t modalities = step.model.size();
  EncodedBatch encoded(step.model, step.batch.inputs);
  const Coalitions coalitions(step.model, encoded.features(), step.batch);
  ModalityTensors values(modalities);
  for (size_t m = 0; m < modalities; ++m) {
    if (encoded.features()[m].defined()) {
      values[m] = step.batch.presence.pack(coalitions.value(m), m);
    }
  }
  const auto scores = cross_entropies(values, step.batch.target, step.batch.presence);
  const auto kappa = coefficients(scores, means_, options_.alpha, options_.cap);
  remember(scores);

  // The loss sees the sum of the m_k, which is the fused output.
  const torch::Tensor fused = coalitions.fused().detach().set_requires_grad(true);
  const torch::Tensor loss = step.loss(fused);
  run_backward(loss, torch::full_like(loss, step.scale));
  const torch::Tensor modulated = coalitions.sum_of_values(kappa);
  if (modulated.requires_grad()) {
    run_backward(modulated, fused.grad());
  }
  encoded.backward();
  for (size_t m = 0; m < modalities; ++m) {
    choices_["kappa." + step.model.name(m)] = kappa[m];
  }
  return {.output = fused.detach(),
          .loss = loss.detach(),
          .output_alone = ModalityTensors(modalities),
          .loss_alone = ModalityTensors(modalities)};
}

void Agm::remember(const std::vector<double>& scores) {
  for (size_t m = 0; m < scores.size(); ++m) {
    if (!std::isnan(scores[m])) {
      const double before = steps_[m] == 0 ? 0.0 : means_[m] * steps_[m];
      steps_[m] += 1;
      means_[m] = (before + scores[m]) / steps_[m];
    }
  }
}

NamedTensors Agm::state() const {
  return {{"scores", torch::tensor(means_, torch::kDouble)},
          {"steps", torch::tensor(steps_, torch::kDouble)}};
}

void Agm::load_state(const NamedTensors& state) {
  for (const auto& [name, values] : state) {
    std::vector<double>& kept = name == "scores" ? means_ : steps_;
    if (values.dim() != 1 || values.numel() != static_cast<int64_t>(kept.size())) {
      throw StorageError(
          fmt::format("the state of the method agm is of other modalities: "
                      "expected {} values of \"{}\", found {}",
                      kept.size(), name, values.numel()));
    }
    const torch::Tensor doubles = values.cpu().to(torch::kDouble).contiguous();
    kept.assign(doubles.data_ptr<double>(), doubles.data_ptr<double>() + doubles.numel());
  }
}

std::shared_ptr<Method> Agm::read(Options& options, const MethodContext& context) {
  expect_classification(options, context);
  const size_t modalities = context.modalities.size();
  if (modalities < 2 || modalities > kMostModalities) {
    throw options.error("type", fmt::format("expected 2 to {} modalities for \"agm\", whose "
                                            "passes double with each, got {}",
                                            kMostModalities, modalities));
  }
  refuse_base(options,
              "the gradients that it scales are those of the multimodal output, which "
              "disentangled reach no encoder");
  AgmOptions read;
  read.alpha = options.number("alpha", read.alpha, {.min = 0.0});
  read.cap = options.number("cap", read.cap, {.min = 0.0});
  read.window = EpochWindow::read(options, read.window);
  return std::make_shared<Agm>(read, modalities);
}

}  // namespace unbraid
