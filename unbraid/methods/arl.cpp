#include "unbraid/methods/arl.h"

#include <algorithm>
#include <cmath>

#include "unbraid/methods/modality_scores.h"

namespace unbraid {

std::vector<double> Arl::weights(const std::vector<double>& magnitudes,
                                 const std::vector<double>& entropies, double temperature) {
  constexpr double kFloor = 0.6;  // over M: 0.3 of two
  constexpr double kTiny = 1e-12;
  std::vector<double> weights(magnitudes.size(), 0.0);
  double magnitude = 0;
  double entropy = 0;
  double count = 0;
  for (size_t m = 0; m < weights.size(); ++m) {
    if (!std::isnan(magnitudes[m])) {
      magnitude += magnitudes[m];
      entropy += entropies[m];
      ++count;
    }
  }
  if (count < 2) {
    return weights;
  }
  std::vector<double> certainty(weights.size(), 0.0);
  double certainties = 0;
  for (size_t m = 0; m < weights.size(); ++m) {
    if (!std::isnan(magnitudes[m])) {
      certainty[m] = 1 / std::max(entropies[m] / std::max(entropy, kTiny), kFloor / count);
      certainties += certainty[m];
    }
  }
  double sum = 0;
  for (size_t m = 0; m < weights.size(); ++m) {
    if (!std::isnan(magnitudes[m])) {
      const double others = (1 - magnitudes[m] / std::max(magnitude, kTiny)) / (count - 1);
      weights[m] = std::exp(temperature * others * certainty[m] / certainties);
      sum += weights[m];
    }
  }
  for (double& weight : weights) {
    weight /= sum;
  }
  return weights;
}

std::vector<double> Arl::weights_for(const ModalityTensors& alone) const {
  const size_t modalities = alone.size();
  if (options_.equal) {
    return std::vector<double>(modalities, 1.0 / static_cast<double>(modalities));
  }
  std::vector<double> magnitudes(modalities, std::nan(""));
  std::vector<double> entropies(modalities, std::nan(""));
  for (size_t m = 0; m < modalities; ++m) {
    if (alone[m].defined()) {
      const torch::Tensor logits = alone[m].to(torch::kFloat);
      const torch::Tensor logs = torch::log_softmax(logits, 1);
      magnitudes[m] = logits.abs().mean(0).sum().item<double>();
      entropies[m] = -(logs.exp() * logs).sum(1).mean().item<double>();
    }
  }
  return weights(magnitudes, entropies, options_.temperature);
}

RoutedResult Arl::backward(const TrainingStep& step) {
  choices_.clear();
  if (step.epoch - 1 < options_.starts) {
    return routed_backward(step, options_.before);
  }
  return routed_backward(step, options_.base,
                         [&](const ModalityTensors& features, const RoutedResult& result,
                             const FeatureGradients& gradients) {
                           const std::vector<double> weights = weights_for(result.output_alone);
                           ModalityTensors arrived(features.size());
                           for (size_t m = 0; m < features.size(); ++m) {
                             const torch::Tensor sum = gradients.sum(m);
                             if (sum.defined()) {
                               arrived[m] = sum * (1 + weights[m]);
                             }
                             choices_["weight." + step.model.name(m)] = weights[m];
                           }
                           return arrived;
                         });
}

std::shared_ptr<Method> Arl::read(Options& options, const MethodContext& context) {
  expect_classification(options, context);
  expect_several_modalities(options, context);
  ArlOptions read;
  read.temperature = options.number("temperature", read.temperature, {.min = 0.0});
  read.starts = options.integer("starts", read.starts, {.min = 0});
  read.equal = options.choice("weights", {"asymmetric", "equal"}, "asymmetric") == "equal";
  read.base = read_base(options);
  if (read.base == GradientRoute::joint()) {
    read.base =
        GradientRoute::auxiliary(options.number("gamma", 4.0, {.min = 0.0, .open_min = true}));
  } else {
    if (options.has("gamma")) {
      throw options.error("gamma", "expected base_alpha in its place with base = \"dgl\"");
    }
    read.before = read.base;
  }
  return std::make_shared<Arl>(read);
}

}  // namespace unbraid
