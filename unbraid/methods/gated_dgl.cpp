#include "unbraid/methods/gated_dgl.h"

namespace unbraid {
namespace {

/// 0 where one of them is zero.
double cosine(const torch::Tensor& a, const torch::Tensor& b) {
  const torch::Tensor flat_a = a.reshape({-1}).to(torch::kDouble);
  const torch::Tensor flat_b = b.reshape({-1}).to(torch::kDouble);
  const double norms = flat_a.norm().item<double>() * flat_b.norm().item<double>();
  return norms == 0 ? 0.0 : flat_a.dot(flat_b).item<double>() / norms;
}

}  // namespace

GradientRoute GatedDgl::route() const {
  GradientRoute route = GradientRoute::dgl(alpha_);
  route.multimodal_to_encoder = keep_;
  return route;
}

RoutedResult GatedDgl::backward(const TrainingStep& step) {
  choices_.clear();
  return routed_backward(step, route(),
                         [&](const ModalityTensors& features, const RoutedResult& /*result*/,
                             const FeatureGradients& gradients) {
                           ModalityTensors arrived(features.size());
                           for (size_t m = 0; m < features.size(); ++m) {
                             const torch::Tensor& multimodal = gradients.multimodal[m];
                             arrived[m] = gradients.unimodal[m];
                             if (!arrived[m].defined() || !multimodal.defined()) {
                               continue;
                             }
                             const double agreement = cosine(multimodal, arrived[m]);
                             const bool kept = agreement > threshold_;
                             if (kept) {
                               arrived[m] = arrived[m] + multimodal;
                             }
                             choices_["cosine." + step.model.name(m)] = agreement;
                             choices_["kept." + step.model.name(m)] = kept ? 1 : 0;
                           }
                           return arrived;
                         });
}

}  // namespace unbraid
