#include "unbraid/methods/mla.h"

#include <cmath>
#include <stdexcept>

#include <fmt/format.h>

#include "unbraid/core/autocast.h"
#include "unbraid/methods/modality_scores.h"
#include "unbraid/models/fusions/shared_head.h"
#include "unbraid/tasks/classification.h"

namespace unbraid {

FusionBuilder Mla::fusion(const std::string& type, FusionBuilder fusion) const {
  if (type == "shared-head") {
    return fusion;
  }
  if (type != "concat" && type != "sum") {
    throw std::invalid_argument(
        fmt::format("expected \"shared-head\" with the method mla, or \"concat\" or \"sum\", in "
                    "whose place it puts that, got \"{}\"",
                    type));
  }
  return [dynamic = dynamic_](const FusionShape& shape) {
    return std::make_shared<SharedHeadFusion>(shape, SharedHeadOptions{.dynamic = dynamic});
  };
}

RoutedResult Mla::backward(const TrainingStep& step) {
  RoutedResult all;
  all.output_alone.resize(step.model.size());
  all.loss_alone.resize(step.model.size());
  bool first = true;
  for (size_t m = 0; m < step.model.size(); ++m) {
    if (!step.batch.inputs[m].defined()) {
      continue;
    }
    if (!first) {
      step.update();
    }
    first = false;
    ModalityTensors input(step.model.size());
    input[m] = step.batch.inputs[m];
    torch::Tensor feature;
    const RoutedResult one = unbraid::routed_backward(
        step.model, input, step.batch.presence,
        [&](const torch::Tensor& output, std::optional<size_t> only) {
          return step.loss(output, only);
        },
        route(), step.scale,
        [&](const ModalityTensors& features, const RoutedResult& /*result*/,
            const FeatureGradients& gradients) {
          feature = features[m];
          return gradients.unimodal;
        });
    all.output_alone[m] = one.output_alone[m];
    all.loss_alone[m] = one.loss_alone[m];
    if (orthogonal_) {
      turn_head(step, feature);
    }
  }
  return all;
}

void Mla::turn_head(const TrainingStep& step, const torch::Tensor& feature) {
  auto* fusion = dynamic_cast<SharedHeadFusion*>(&step.model.fusion());
  if (fusion == nullptr) {
    throw std::invalid_argument("[mla] orthogonal: expected a SharedHeadFusion");
  }
  torch::Tensor gradient = fusion->head().weight.grad();
  if (!gradient.defined()) {
    return;  // the head is frozen
  }
  const torch::NoGradGuard no_grad;
  const AutocastGuard exact(gradient.device().type(), false);
  if (!projection_.defined()) {
    projection_ = torch::eye(feature.size(1), gradient.options());
    return;
  }
  projection_ = projection_.to(gradient.options());
  const torch::Tensor mean = feature.to(gradient.scalar_type()).mean(0);
  const torch::Tensor k = projection_.matmul(mean);
  const double progress = static_cast<double>(step.index) / static_cast<double>(step.count);
  const torch::Tensor denominator = mean.dot(k) + std::pow(0.1, 1 + progress);
  projection_ = projection_ - torch::outer(k, k) / denominator;
  projection_ = projection_ / projection_.norm();
  gradient.copy_(gradient.matmul(projection_.t()));
}

NamedTensors Mla::state() const {
  return projection_.defined() ? NamedTensors{{"projection", projection_}} : NamedTensors{};
}

void Mla::load_state(const NamedTensors& state) {
  projection_ = state.empty() ? torch::Tensor() : state.front().second;
}

std::shared_ptr<Method> Mla::read(Options& options, const MethodContext& context) {
  refuse_base(options, "it has no multimodal loss that could be kept from an encoder");
  const bool classes = dynamic_cast<const Classification*>(context.task) != nullptr;
  return std::make_shared<Mla>(options.boolean("orthogonal", true), classes);
}

}  // namespace unbraid
