#include "unbraid/methods/pmr.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "unbraid/core/autocast.h"
#include "unbraid/core/error.h"
#include "unbraid/methods/modality_scores.h"

namespace unbraid {
namespace {

/// -|feature - prototype| [B, C] of features [B, …], -inf for classes without a prototype.
torch::Tensor similarities(const torch::Tensor& feature, const torch::Tensor& prototypes,
                           const torch::Tensor& known) {
  constexpr int64_t kExact = 2;  // not by products, which cancel
  const torch::Tensor vectors = pooled(feature);
  return -torch::cdist(vectors, prototypes.to(vectors.options()), 2.0, kExact)
              .masked_fill(known.to(vectors.device()).logical_not(),
                           std::numeric_limits<double>::infinity());
}

/// The similarities of one modality's features, as leaves of the loss, and their labels.
struct Similarities {
  torch::Tensor feature;  // [B_m, …], a leaf
  torch::Tensor logs;     // [K, C], log-probabilities of the samples whose class is known
  torch::Tensor labels;   // [K]
};

/// Of each modality by how much the mean of its ratios to the others exceeds 1, clipped to 1, or 1
/// where it does; 0 without a score.
template <typename Ratio>
std::vector<double> above_others(const std::vector<double>& scores, bool constant,
                                 const Ratio& ratio) {
  std::vector<double> coefficients(scores.size(), 0.0);
  const auto positive = [](double score) {
    return std::max(score, std::numeric_limits<double>::min());
  };
  for (size_t m = 0; m < scores.size(); ++m) {
    double ratios = 0;
    int others = 0;
    for (size_t n = 0; n < scores.size(); ++n) {
      if (n != m && !std::isnan(scores[n])) {
        ratios += ratio(positive(scores[m]), positive(scores[n]));
        ++others;
      }
    }
    if (others > 0 && !std::isnan(scores[m])) {
      const double above = ratios / others - 1;
      coefficients[m] = constant ? (above > 0 ? 1.0 : 0.0) : std::clamp(above, 0.0, 1.0);
    }
  }
  return coefficients;
}

/// The mean entropy of rows of log-probabilities, -inf for what is impossible.
torch::Tensor entropy(const torch::Tensor& logs) {
  const torch::Tensor finite = logs.masked_fill(logs.isinf(), 0.0);
  return -(logs.exp() * finite).sum(1).mean();
}

}  // namespace

Pmr::Pmr(const PmrOptions& options, std::vector<std::string> modalities, int64_t classes)
    : options_(options),
      modalities_(std::move(modalities)),
      classes_(classes),
      prototypes_(modalities_.size()) {}

void Pmr::begin_epoch(const EpochStart& start) {
  if (!options_.window.holds(start.epoch)) {
    return;
  }
  std::vector<torch::Tensor> sums(modalities_.size());
  std::vector<torch::Tensor> counts(modalities_.size());
  const auto batches = static_cast<size_t>(
      std::max(1.0, std::floor(options_.share * static_cast<double>(start.count))));
  start.for_each_encoded({.batches = batches}, [&](const Batch& batch,
                                                   const ModalityTensors& features) {
    // Automatic casting would add up in bfloat16, where a sum soon stops growing.
    const AutocastGuard exact(batch.target.device().type(), false);
    for (size_t m = 0; m < features.size(); ++m) {
      if (!features[m].defined()) {
        continue;
      }
      const torch::Tensor vectors = pooled(features[m]);
      const torch::Tensor one_hot =
          torch::one_hot(batch.presence.pack(batch.target, m), classes_).to(vectors.scalar_type());
      const torch::Tensor sum = one_hot.t().matmul(vectors);
      const torch::Tensor count = one_hot.sum(0);
      sums[m] = sums[m].defined() ? sums[m] + sum : sum;
      counts[m] = counts[m].defined() ? counts[m] + count : count;
    }
  });
  for (size_t m = 0; m < modalities_.size(); ++m) {
    if (sums[m].defined()) {
      update(prototypes_[m], {sums[m] / counts[m].clamp_min(1).unsqueeze(1), counts[m] > 0});
    }
  }
}

void Pmr::update(Prototypes& old, const Prototypes& seen) const {
  if (!old.means.defined()) {
    old = seen;
    return;
  }
  const torch::Tensor means = old.means.to(seen.means.options());
  const torch::Tensor known = old.known.to(seen.known.device());
  // A class that only one of both knows keeps what that one says.
  const torch::Tensor mixed = seen.means * (1 - options_.momentum) + means * options_.momentum;
  const torch::Tensor chosen =
      torch::where((known & seen.known).unsqueeze(1), mixed,
                   torch::where(seen.known.unsqueeze(1), seen.means, means));
  old = {chosen, known | seen.known};
}

std::vector<double> Pmr::coefficients(const std::vector<double>& scores, bool constant) {
  return above_others(scores, constant, [](double own, double other) { return other / own; });
}

std::vector<double> Pmr::dominances(const std::vector<double>& scores, bool constant) {
  return above_others(scores, constant, [](double own, double other) { return own / other; });
}

bool Pmr::has_entropy(int64_t epoch) const {
  return options_.entropy > 0 && epoch <= options_.entropy_epochs;
}

RoutedResult Pmr::backward(const TrainingStep& step) {
  choices_.clear();
  if (!options_.window.holds(step.epoch)) {
    return routed_backward(step, options_.base);
  }
  return routed_backward(
      step, options_.base,
      [&](const ModalityTensors& features, const RoutedResult& /*result*/,
          const FeatureGradients& gradients) { return rule(step, features, gradients); });
}

ModalityTensors Pmr::rule(const TrainingStep& step, const ModalityTensors& features,
                          const FeatureGradients& gradients) {
  const torch::AutoGradMode with_graph(true);
  std::vector<Similarities> similar(features.size());
  std::vector<double> scores(features.size(), std::nan(""));
  for (size_t m = 0; m < features.size(); ++m) {
    if (!features[m].defined() || !prototypes_[m].means.defined()) {
      continue;
    }
    const torch::Tensor labels = step.batch.presence.pack(step.batch.target, m);
    const torch::Tensor rows =
        prototypes_[m].known.to(labels.device()).index_select(0, labels).nonzero().flatten();
    if (rows.numel() == 0) {
      continue;
    }
    const torch::Tensor leaf = features[m].detach().set_requires_grad(true);
    similar[m] = {leaf,
                  torch::log_softmax(similarities(leaf.index_select(0, rows), prototypes_[m].means,
                                                  prototypes_[m].known),
                                     1),
                  labels.index_select(0, rows)};
    scores[m] = similar[m]
                    .logs.detach()
                    .exp()
                    .gather(1, similar[m].labels.unsqueeze(1))
                    .mean()
                    .item<double>();
    choices_["score." + modalities_[m]] = scores[m];
  }
  const std::vector<double> betas = coefficients(scores, options_.constant);
  std::vector<double> gammas(scores.size(), 0.0);
  if (has_entropy(step.epoch)) {
    gammas = dominances(scores, options_.constant);
  }
  ModalityTensors arrived(features.size());
  for (size_t m = 0; m < features.size(); ++m) {
    arrived[m] = gradients.sum(m);
    choices_["beta." + modalities_[m]] = betas[m];
    if (has_entropy(step.epoch)) {
      choices_["gamma." + modalities_[m]] = gammas[m];
    }
    const double weight = step.scale * options_.alpha * betas[m];
    const double held_back = step.scale * options_.entropy * gammas[m];
    if (arrived[m].defined() && (weight != 0 || held_back != 0)) {  // undefined: it is frozen
      torch::Tensor loss = torch::nll_loss(similar[m].logs, similar[m].labels) * weight;
      if (held_back != 0) {
        loss = loss - entropy(similar[m].logs) * held_back;
      }
      arrived[m] = arrived[m] + torch::autograd::grad({loss}, {similar[m].feature})[0];
    }
  }
  return arrived;
}

NamedTensors Pmr::state() const {
  NamedTensors state;
  for (size_t m = 0; m < prototypes_.size(); ++m) {
    if (prototypes_[m].means.defined()) {
      state.emplace_back("prototypes." + modalities_[m], prototypes_[m].means);
      state.emplace_back("known." + modalities_[m], prototypes_[m].known);
    }
  }
  return state;
}

void Pmr::load_state(const NamedTensors& state) {
  prototypes_.assign(modalities_.size(), {});
  for (const auto& [name, values] : state) {
    for (size_t m = 0; m < modalities_.size(); ++m) {
      if (name == "prototypes." + modalities_[m]) {
        prototypes_[m].means = values;
      } else if (name == "known." + modalities_[m]) {
        prototypes_[m].known = values;
      }
    }
  }
  for (const Prototypes& loaded : prototypes_) {
    if (loaded.means.defined() != loaded.known.defined() ||
        (loaded.means.defined() && (loaded.means.dim() != 2 || loaded.means.size(0) != classes_ ||
                                    loaded.known.sizes() != torch::IntArrayRef({classes_}) ||
                                    loaded.known.scalar_type() != torch::kBool))) {
      throw StorageError(fmt::format(
          "the state of the method pmr is damaged: expected prototypes of {} classes", classes_));
    }
  }
}

std::shared_ptr<Method> Pmr::read(Options& options, const MethodContext& context) {
  expect_classification(options, context);
  expect_several_modalities(options, context);
  PmrOptions read;
  read.alpha = options.number("alpha", read.alpha, {.min = 0.0});
  read.momentum = options.number("momentum", read.momentum, {.min = 0.0, .max = 1.0});
  read.share = options.number("share", read.share, {.min = 0.0, .max = 1.0, .open_min = true});
  read.window = EpochWindow::read(options, read.window);
  read.constant = options.choice("coefficient", {"paper", "constant"}, "paper") == "constant";
  read.entropy = options.number("entropy", read.entropy, {.min = 0.0});
  read.entropy_epochs = options.integer("entropy_epochs", read.entropy_epochs, {.min = 0});
  read.base = read_base(options);
  return std::make_shared<Pmr>(read, context.modalities, context.task->outputs());
}

}  // namespace unbraid
