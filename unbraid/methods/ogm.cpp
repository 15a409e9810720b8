#include "unbraid/methods/ogm.h"

#include <cmath>

#include "unbraid/methods/modality_scores.h"

namespace unbraid {
namespace {

std::shared_ptr<Method> read_with_noise(Options& options, const MethodContext& context,
                                        bool noise) {
  expect_classification(options, context);
  expect_several_modalities(options, context);
  OgmOptions read;
  read.alpha = options.number("alpha", read.alpha, {.min = 0.0});
  read.window = EpochWindow::read(options, read.window);
  read.noise = noise;
  read.conv_only = options.choice("parameters", {"all", "conv"}, "all") == "conv";
  read.base = read_base(options);
  return std::make_shared<Ogm>(read);
}

}  // namespace

std::vector<double> Ogm::coefficients(const std::vector<double>& scores, double alpha) {
  std::vector<double> coefficients(scores.size(), 1.0);
  for (size_t m = 0; m < scores.size(); ++m) {
    double ratios = 0;
    int others = 0;
    for (size_t n = 0; n < scores.size(); ++n) {
      if (n != m && !std::isnan(scores[n])) {
        ratios += scores[m] / scores[n];
        ++others;
      }
    }
    const double rho = others == 0 ? 0.0 : ratios / others;
    if (rho > 1) {
      coefficients[m] = 1 - std::tanh(alpha * rho);
    }
  }
  return coefficients;
}

RoutedResult Ogm::backward(const TrainingStep& step) {
  choices_.clear();
  if (!options_.window.holds(step.epoch)) {
    return Method::backward(step);
  }
  ModalityTensors alone;
  FeatureRule rule;
  if (!options_.base.has_unimodal_loss(0)) {
    rule = [&](const ModalityTensors& features, const RoutedResult& /*result*/,
               const FeatureGradients& gradients) {
      alone = outputs_alone(step.model, features);
      return gradients.multimodal;
    };
  }
  const RoutedResult result = routed_backward(step, options_.base, rule);
  const auto scores = true_class_probabilities(
      shares_of_output(rule ? alone : result.output_alone, result.output, step.batch.presence),
      step.batch.target, step.batch.presence);
  const auto k = coefficients(scores, options_.alpha);
  for (size_t m = 0; m < k.size(); ++m) {
    modulate(step.model.encoder(m), k[m]);
    choices_["k." + step.model.name(m)] = k[m];
  }
  return result;
}

void Ogm::modulate(torch::nn::Module& encoder, double k) const {
  const torch::NoGradGuard no_grad;
  constexpr int64_t kConvolution = 4;
  for (const torch::Tensor& parameter : encoder.parameters()) {
    torch::Tensor gradient = parameter.grad();
    if (!gradient.defined() || (options_.conv_only && gradient.dim() != kConvolution)) {
      continue;
    }
    if (options_.noise && gradient.numel() > 1) {
      const torch::Tensor noise = torch::randn_like(gradient) * (gradient.std() + 1e-8);
      gradient.mul_(k).add_(noise);
    } else {
      gradient.mul_(k);
    }
  }
}

std::shared_ptr<Method> Ogm::read(Options& options, const MethodContext& context) {
  return read_with_noise(options, context, false);
}

std::shared_ptr<Method> Ogm::read_ge(Options& options, const MethodContext& context) {
  return read_with_noise(options, context, true);
}

}  // namespace unbraid
