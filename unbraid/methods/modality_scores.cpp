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

torch::Tensor at_least_float(const torch::Tensor& values) {
  return values.scalar_type() == torch::kDouble ? values : values.to(torch::kFloat);
}

torch::Tensor pooled(const torch::Tensor& feature) {
  const torch::Tensor exact = at_least_float(feature);
  return exact.dim() == 2 ? exact : exact.dim() == 3 ? exact.mean(1) : exact.flatten(2).mean(2);
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

void expect_several_modalities(const Options& options, const MethodContext& context) {
  if (context.modalities.size() < 2) {
    throw options.error("type", fmt::format("expected two modalities or more for this method, "
                                            "which weighs them against each other, got {}",
                                            context.modalities.size()));
  }
}

GradientRoute read_base(Options& options) {
  if (options.choice("base", {"joint", "dgl"}, "joint") == "joint") {
    if (options.has("base_alpha")) {
      throw options.error("base_alpha", "expected it with base = \"dgl\" alone");
    }
    return GradientRoute::joint();
  }
  return GradientRoute::dgl(options.number("base_alpha", 4.0, {.min = 0.0, .open_min = true}));
}

void refuse_base(const Options& options, const std::string& why) {
  if (options.has("base")) {
    throw options.error("base", "expected a method that takes a base: of this one, " + why);
  }
}

}  // namespace unbraid
