#include "unbraid/methods/mmpareto.h"

#include <cmath>

#include "unbraid/methods/modality_scores.h"
#include "unbraid/routing/encoded_batch.h"
#include "unbraid/routing/passes.h"

namespace unbraid {
namespace {

/// Sums over all parameters, in double: <a, a>, <a, b>, <b, b>. Undefined ones count as zeros.
std::array<double, 3> products(const std::vector<torch::Tensor>& a,
                               const std::vector<torch::Tensor>& b) {
  torch::Tensor sums;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].defined()) {
      const torch::Tensor terms =
          torch::stack({a[i].square().sum(torch::kDouble), (a[i] * b[i]).sum(torch::kDouble),
                        b[i].square().sum(torch::kDouble)});
      sums = sums.defined() ? sums + terms : terms;
    }
  }
  if (!sums.defined()) {
    return {0, 0, 0};
  }
  sums = sums.cpu();
  return {sums[0].item<double>(), sums[1].item<double>(), sums[2].item<double>()};
}

}  // namespace

std::array<double, 2> MmPareto::weights(double joint, double product, double own) {
  constexpr double kAlmostAll = 0.999;
  double weight = 0.5;
  if (product <= 0) {
    if (product >= joint) {
      weight = kAlmostAll;
    } else if (product >= own) {
      weight = 1 - kAlmostAll;
    } else {
      weight = (own - product) / (joint + own - 2 * product);
    }
  }
  return {weight, 1 - weight};
}

RoutedResult MmPareto::backward(const TrainingStep& step) {
  choices_.clear();
  const size_t modalities = step.model.size();
  const EncodedBatch encoded(step.model, step.batch.inputs);
  const ModalityTensors& features = encoded.features();
  const torch::Tensor output = step.model.fuse(features, step.batch.presence);
  const torch::Tensor loss = step.loss(output);

  RoutedResult result{output.detach(), loss.detach(), ModalityTensors(modalities),
                      ModalityTensors(modalities)};
  // With leaves of their own the unimodal losses leave gradients apart from the multimodal one's.
  ModalityTensors own(modalities);
  torch::Tensor total = loss;
  for (size_t m = 0; m < modalities; ++m) {
    if (features[m].defined()) {
      own[m] = features[m].detach().set_requires_grad(features[m].requires_grad());
      const torch::Tensor output_alone = step.model.alone(m, own[m]);
      const torch::Tensor loss_alone = step.loss(output_alone, m);
      total = total + loss_alone;
      result.output_alone[m] = output_alone.detach();
      result.loss_alone[m] = loss_alone.detach();
    }
  }
  if (!total.requires_grad()) {
    return result;
  }
  run_backward(total, torch::full_like(total, step.scale));
  for (size_t m = 0; m < modalities; ++m) {
    if (!features[m].defined() || !features[m].requires_grad()) {
      continue;
    }
    const auto of = [&](const torch::Tensor& leaf) {
      return encoded.parameter_gradients(
          m, leaf.grad().defined() ? leaf.grad() : torch::zeros_like(leaf));
    };
    combine(step.model.name(m), step.model.encoder(m), of(features[m]), of(own[m]));
  }
  return result;
}

std::shared_ptr<Method> MmPareto::read(Options& options, const MethodContext& /*context*/) {
  refuse_base(options,
              "it combines the multimodal gradient with the unimodal one, which "
              "disentangled is all there is");
  return std::make_shared<MmPareto>(options.number("gamma", 1.5, {.min = 0.0, .open_min = true}));
}

void MmPareto::combine(const std::string& modality, torch::nn::Module& encoder,
                       std::vector<torch::Tensor> joint, std::vector<torch::Tensor> own) {
  const torch::NoGradGuard no_grad;
  const auto [of_joint, product, of_own] = products(joint, own);
  const auto [joint_weight, own_weight] = weights(of_joint, product, of_own);
  std::vector<torch::Tensor> parameters = encoder.parameters();
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (!joint[i].defined()) {
      continue;
    }
    const torch::Tensor combined = joint[i] * (2 * joint_weight) + own[i] * (2 * own_weight);
    const torch::Tensor norm = combined.norm();
    const torch::Tensor stretch = ((joint[i] + own[i]).norm() / norm).clamp_min(1.0);
    const torch::Tensor gradient =
        torch::where(norm > 0, combined * (stretch * gamma_), torch::zeros_like(combined));
    torch::Tensor& sum = parameters[i].mutable_grad();
    sum = sum.defined() ? sum + gradient : gradient;
  }
  const double norms = std::sqrt(of_joint) * std::sqrt(of_own);
  choices_["cosine." + modality] = norms == 0 ? 0.0 : product / norms;
  choices_["joint." + modality] = joint_weight;
}

}  // namespace unbraid
