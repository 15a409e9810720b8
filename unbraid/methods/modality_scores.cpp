#include "unbraid/methods/modality_scores.h"

#include <cmath>

#include <fmt/format.h>

#include "unbraid/routing/passes.h"
#include "unbraid/tasks/classification.h"

namespace unbraid {

ModalityTensors outputs_alone(MultimodalModelImpl& model, const ModalityTensors& features) {
  const torch::NoGradGuard no_grad;
  const KeptBuffers kept(model.fusion());
  ModalityTensors outputs(features.size());
  for (size_t m = 0; m < features.size(); ++m) {
    if (features[m].defined()) {
      outputs[m] = model.alone(m, features[m]).detach();
    }
  }
  clear_autocast_cache();  // of copies without graph
  return outputs;
}

torch::Tensor output_of_all(MultimodalModelImpl& model, const ModalityTensors& features,
                            const Presence& presence) {
  const torch::NoGradGuard no_grad;
  const KeptBuffers kept(model.fusion());
  const torch::Tensor output = model.fuse(features, presence).detach();
  clear_autocast_cache();
  return output;
}

torch::Tensor sum_of(const FeatureGradients& gradients, size_t modality) {
  const torch::Tensor& multimodal = gradients.multimodal[modality];
  const torch::Tensor& unimodal = gradients.unimodal[modality];
  if (!multimodal.defined() || !unimodal.defined()) {
    return multimodal.defined() ? multimodal : unimodal;
  }
  return unimodal + multimodal;
}

ModalityTensors shares_of_output(const ModalityTensors& alone, const torch::Tensor& fused,
                                 const Presence& presence) {
  torch::Tensor rest = fused.clone();
  torch::Tensor count = torch::zeros({fused.size(0), 1}, fused.options());
  for (size_t m = 0; m < alone.size(); ++m) {
    if (alone[m].defined()) {
      rest -= presence.spread(alone[m], m);
      count += presence.spread(torch::ones({alone[m].size(0), 1}, fused.options()), m);
    }
  }
  rest /= count;
  ModalityTensors shares(alone.size());
  for (size_t m = 0; m < alone.size(); ++m) {
    if (alone[m].defined()) {
      shares[m] = alone[m] + presence.pack(rest, m);
    }
  }
  return shares;
}

std::vector<double> true_class_probabilities(const ModalityTensors& logits,
                                             const torch::Tensor& target,
                                             const Presence& presence) {
  std::vector<double> scores(logits.size(), std::nan(""));
  for (size_t m = 0; m < logits.size(); ++m) {
    if (logits[m].defined()) {
      const torch::Tensor labels = presence.pack(target, m).unsqueeze(1);
      scores[m] =
          torch::softmax(logits[m].to(torch::kFloat), 1).gather(1, labels).mean().item<double>();
    }
  }
  return scores;
}

void expect_classification(const Options& options, const MethodContext& context) {
  if (dynamic_cast<const Classification*>(context.task) == nullptr) {
    throw options.error("type",
                        fmt::format("expected a method for this task: this one looks at the "
                                    "probabilities of classes, so that it needs task.type = "
                                    "\"classification\""));
  }
}

GradientRoute read_base(Options& options) {
  if (options.choice("base", {"joint", "dgl"}, "joint") == "joint") {
    return GradientRoute::joint();
  }
  return GradientRoute::dgl(options.number("base_alpha", 4.0, {.min = 0.0, .open_min = true}));
}

}  // namespace unbraid
