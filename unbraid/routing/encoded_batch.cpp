#include "unbraid/routing/encoded_batch.h"

#include "unbraid/routing/passes.h"

namespace unbraid {

EncodedBatch::EncodedBatch(MultimodalModelImpl& model, const ModalityTensors& inputs)
    : model_(model), encoded_(inputs.size()), features_(inputs.size()) {
  TORCH_CHECK(inputs.size() == model.size(), "[encoded_batch] expected ", model.size(),
              " inputs, got ", inputs.size());
  for (size_t m = 0; m < inputs.size(); ++m) {
    if (inputs[m].defined()) {
      encoded_[m] = model.encode(m, inputs[m]);
      clear_autocast_cache();
      features_[m] = encoded_[m].detach().set_requires_grad(encoded_[m].requires_grad());
    }
  }
}

void EncodedBatch::backward(const std::vector<double>& weights) {
  for (size_t m = 0; m < features_.size(); ++m) {
    if (features_[m].defined() && features_[m].grad().defined()) {
      const torch::Tensor& gradient = features_[m].grad();
      run_backward(encoded_[m], weights.empty() ? gradient : gradient * weights.at(m));
    }
    encoded_[m] = torch::Tensor();
  }
}

std::vector<torch::Tensor> EncodedBatch::parameter_gradients(size_t modality,
                                                             const torch::Tensor& gradient) const {
  std::vector<torch::Tensor> parameters = model_.encoder(modality).parameters();
  std::vector<torch::Tensor> trained;
  for (const torch::Tensor& parameter : parameters) {
    if (parameter.requires_grad()) {
      trained.push_back(parameter);
    }
  }
  std::vector<torch::Tensor> gradients(parameters.size());
  if (trained.empty()) {
    return gradients;
  }
  const AutocastGuard as_forward(gradient.device().type(), false);
  const auto found = torch::autograd::grad({encoded_.at(modality)}, trained, {gradient},
                                           /*retain_graph=*/true, /*create_graph=*/false,
                                           /*allow_unused=*/true);
  for (size_t i = 0, next = 0; i < parameters.size(); ++i) {
    if (parameters[i].requires_grad()) {
      gradients[i] = found[next++];
    }
  }
  return gradients;
}

}  // namespace unbraid
