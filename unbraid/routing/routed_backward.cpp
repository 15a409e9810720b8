#include "unbraid/routing/routed_backward.h"

#include <vector>

#include "unbraid/core/autocast.h"
#include "unbraid/routing/passes.h"

namespace unbraid {
namespace {

struct LossPass {
  torch::Tensor output;
  torch::Tensor loss;
};

class RoutedStep {
 public:
  RoutedStep(MultimodalModelImpl& model, const Presence& presence, const PresentLossFunction& loss,
             const GradientRoute& route, double scale, const FeatureRule& rule)
      : model_(model),
        presence_(presence),
        loss_(loss),
        route_(route),
        scale_(scale),
        rule_(rule),
        encoded_(model.size()),
        features_(model.size()),
        gradients_{ModalityTensors(model.size()), ModalityTensors(model.size())} {
    for (const torch::Tensor& parameter : model.fusion().parameters()) {
      if (parameter.requires_grad()) {
        fusion_parameters_.push_back(parameter);
      }
    }
  }

  RoutedResult run(const ModalityTensors& inputs) {
    RoutedResult result;
    result.output_alone.resize(model_.size());
    result.loss_alone.resize(model_.size());
    // Encoders that wait for the multimodal loss come last: their graphs stay alive meanwhile.
    for (const bool waiting : {false, true}) {
      for (size_t m = 0; m < model_.size(); ++m) {
        if (inputs[m].defined() && waits(m) == waiting) {
          encode(m, inputs[m]);
          unimodal(m, result);
          if (!waiting) {
            backward_encoder(m);
          }
        }
      }
    }
    if (route_.has_multimodal_loss()) {
      multimodal(result);
    }
    if (rule_) {
      gradients_ = {rule_(features_, result, gradients_), ModalityTensors(model_.size())};
    }
    for (size_t m = 0; m < model_.size(); ++m) {
      backward_encoder(m);
    }
    return result;
  }

 private:
  [[nodiscard]] bool waits(size_t m) const { return rule_ || route_.multimodal_to_encoder[m] != 0; }

  void encode(size_t m, const torch::Tensor& input) {
    const torch::AutoGradMode mode(rule_ || route_.reaches_encoder(m));
    encoded_[m] = model_.encode(m, input);
    clear_autocast_cache();
    features_[m] = encoded_[m].detach();
  }

  void unimodal(size_t m, RoutedResult& result) {
    if (!route_.has_unimodal_loss(m)) {
      return;
    }
    ModalityTensors features(model_.size());
    features[m] = features_[m];
    const double weight = route_.unimodal_to_fusion[m];
    const KeptBuffers kept(model_.fusion(), weight == 0);
    const LossPass pass =
        backward_fusion(features, m, weight, route_.unimodal_to_encoder, gradients_.unimodal);
    result.output_alone[m] = pass.output;
    result.loss_alone[m] = pass.loss;
  }

  void multimodal(RoutedResult& result) {
    const LossPass pass = backward_fusion(features_, std::nullopt, route_.multimodal_to_fusion,
                                          route_.multimodal_to_encoder, gradients_.multimodal);
    result.output = pass.output;
    result.loss = pass.loss;
  }

  /// Runs the fusion module and the loss on `features` (of modality `only`, or all), adds to the
  /// fusion's gradients and notes the weighted gradients of the features in `arrived`.
  LossPass backward_fusion(const ModalityTensors& features, std::optional<size_t> only,
                           double fusion_weight, const ModalityWeights& encoder_weights,
                           ModalityTensors& arrived) {
    const CutParameters cut(model_.fusion(), fusion_weight == 0);
    ModalityTensors leaves(features.size());
    std::vector<torch::Tensor> targets;
    if (fusion_weight != 0) {
      targets = fusion_parameters_;
    }
    for (size_t m = 0; m < features.size(); ++m) {
      if (features[m].defined()) {
        leaves[m] = features[m].detach();
        if (encoder_weights[m] != 0 && encoded_[m].requires_grad()) {
          targets.push_back(leaves[m].set_requires_grad(true));
        }
      }
    }
    const torch::Tensor output = model_.fuse(leaves, only ? Presence() : presence_);
    clear_autocast_cache();
    const torch::Tensor loss = loss_(output, only);
    if (loss.requires_grad() && !targets.empty()) {
      // The engine scales the fusion's gradients; those of the small features are scaled after it.
      const double seed = scale_ * (fusion_weight != 0 ? fusion_weight : 1.0);
      run_backward(loss, torch::full_like(loss, seed), targets);
      for (size_t m = 0; m < leaves.size(); ++m) {
        if (leaves[m].defined() && leaves[m].grad().defined()) {
          const double weight = scale_ * encoder_weights[m] / seed;
          arrived[m] = weight == 1.0 ? leaves[m].grad() : leaves[m].grad() * weight;
        }
      }
    }
    return {output.detach(), loss.detach()};
  }

  void backward_encoder(size_t m) {
    if (const torch::Tensor gradient = gradients_.sum(m); gradient.defined()) {
      run_backward(encoded_[m], gradient);
    }
    gradients_.multimodal[m] = torch::Tensor();
    gradients_.unimodal[m] = torch::Tensor();
    encoded_[m] = torch::Tensor();
  }

  MultimodalModelImpl& model_;
  const Presence& presence_;
  const PresentLossFunction& loss_;
  const GradientRoute& route_;
  double scale_;
  const FeatureRule& rule_;
  std::vector<torch::Tensor> fusion_parameters_;
  ModalityTensors encoded_;   // with their graph, until their backward pass
  ModalityTensors features_;  // without
  FeatureGradients gradients_;
};

}  // namespace

torch::Tensor FeatureGradients::sum(size_t modality) const {
  const torch::Tensor& of_all = multimodal[modality];
  const torch::Tensor& of_one = unimodal[modality];
  if (!of_all.defined() || !of_one.defined()) {
    return of_all.defined() ? of_all : of_one;
  }
  return of_one + of_all;
}

RoutedResult routed_backward(MultimodalModelImpl& model, const ModalityTensors& inputs,
                             const LossFunction& loss, const GradientRoute& route, double scale) {
  return routed_backward(
      model, inputs, Presence(),
      [&](const torch::Tensor& output, std::optional<size_t> /*only*/) { return loss(output); },
      route, scale);
}

RoutedResult routed_backward(MultimodalModelImpl& model, const ModalityTensors& inputs,
                             const Presence& presence, const PresentLossFunction& loss,
                             const GradientRoute& route, double scale, const FeatureRule& rule) {
  route.check(model.size());
  TORCH_CHECK(inputs.size() == model.size(), "[routed_backward] expected ", model.size(),
              " inputs, got ", inputs.size());
  return RoutedStep(model, presence, loss, route, scale, rule).run(inputs);
}

}  // namespace unbraid
