#pragma once

#include <functional>
#include <optional>

#include "unbraid/core/batch.h"
#include "unbraid/models/multimodal_model.h"
#include "unbraid/routing/gradient_route.h"

namespace unbraid {

/// Turns an output of the fusion module into a scalar loss; used for the multimodal loss and for
/// each unimodal one.
using LossFunction = std::function<torch::Tensor(const torch::Tensor& output)>;

/// The same where samples lack modalities: `only` is the modality whose unimodal loss is asked for,
/// `output` then being of the samples that have it; none for the multimodal loss, of all samples.
using PresentLossFunction =
    std::function<torch::Tensor(const torch::Tensor& output, std::optional<size_t> only)>;

/// What a routed backward pass computed on its way, without graph. Undefined where the route had no
/// use for it.
struct RoutedResult {
  torch::Tensor output;          // of the fusion module on all features
  torch::Tensor loss;            // multimodal, a scalar
  ModalityTensors output_alone;  // by modality, of the samples that have it
  ModalityTensors loss_alone;    // by modality, scalars
};

/// What arrived at the features, weighted by the route: [B_m, …] by modality, undefined where a
/// loss does not reach one.
struct FeatureGradients {
  ModalityTensors multimodal;
  ModalityTensors unimodal;

  /// What the route gives the encoder of modality m; undefined: nothing.
  [[nodiscard]] torch::Tensor sum(size_t modality) const;
};

/// Says, once the fusion module has run backward, which gradient each encoder gets at its feature
/// (undefined: none), where the sum of both that a route prescribes is not what a method wants. It
/// sees the features [B_m, …] and what the pass computed so far.
using FeatureRule =
    std::function<ModalityTensors(const ModalityTensors& features, const RoutedResult& result,
                                  const FeatureGradients& gradients)>;

/// Forward and backward for one batch: adds to the gradients of `model` exactly what `route` says,
/// times `scale` (for gradient accumulation), and leaves undefined the gradients of what no loss
/// reaches. Equal to backpropagating each loss in full and picking the parts afterwards, but
///
///  - an encoder that the multimodal loss does not reach is finished, its graph freed, before the
///    next one starts, so that the largest encoder decides the peak memory and not their sum;
///  - each encoder runs backward once, and gradients that the route drops are never computed;
///  - a unimodal loss that does not train the fusion module leaves its buffers as they were.
///
/// Throws what GradientRoute::check throws.
RoutedResult routed_backward(MultimodalModelImpl& model, const ModalityTensors& inputs,
                             const LossFunction& loss, const GradientRoute& route,
                             double scale = 1.0);

/// The same for samples of which some lack a modality: `inputs[m]` holds those that have m, as
/// `presence` says. An absent modality adds no unimodal loss for its sample: the unimodal loss is
/// that of the samples which have the modality. With a `rule` every encoder waits for it, so that
/// their graphs are alive together.
RoutedResult routed_backward(MultimodalModelImpl& model, const ModalityTensors& inputs,
                             const Presence& presence, const PresentLossFunction& loss,
                             const GradientRoute& route, double scale = 1.0,
                             const FeatureRule& rule = {});

}  // namespace unbraid
