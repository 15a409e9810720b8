// Disentangled gradient learning with modules of your own and plain LibTorch around it.
#include <iostream>

#include "unbraid/core/torch.h"
#include "unbraid/routing/routed_backward.h"

/// Any fusion module: an undefined feature means that this modality is absent.
struct MyFusionImpl : torch::nn::Module {
  torch::nn::Linear audio = register_module("audio", torch::nn::Linear(16, 2));
  torch::nn::Linear image = register_module("image", torch::nn::Linear(16, 2));

  torch::Tensor forward(const unbraid::ModalityTensors& features) {
    torch::Tensor logits = torch::zeros({2});
    if (features[0].defined()) {
      logits = logits + audio(features[0]);
    }
    if (features[1].defined()) {
      logits = logits + image(features[1]);
    }
    return logits;
  }
};
TORCH_MODULE(MyFusion);

int main() {  // NOLINT(bugprone-exception-escape)
  torch::manual_seed(0);
  const torch::Tensor label = torch::randint(0, 2, {256});
  const torch::Tensor sound = torch::randn({256, 8}) + label.unsqueeze(1);
  const torch::Tensor picture = torch::randn({256, 8}) - 0.5 * label.unsqueeze(1);

  // The ten lines.
  unbraid::MultimodalModel model;
  model->add_encoder("audio", torch::nn::Sequential(torch::nn::Linear(8, 16), torch::nn::ReLU()));
  model->add_encoder("image", torch::nn::Sequential(torch::nn::Linear(8, 16), torch::nn::ReLU()));
  model->set_fusion(MyFusion());
  torch::optim::SGD optimizer(model->parameters(), torch::optim::SGDOptions(0.1).momentum(0.9));
  const auto loss = [&](const torch::Tensor& logits) {
    return torch::cross_entropy_loss(logits, label);
  };
  for (int step = 0; step < 50; ++step) {
    optimizer.zero_grad();
    unbraid::routed_backward(*model, {sound, picture}, loss, unbraid::GradientRoute::dgl(1.0));
    optimizer.step();
  }

  const torch::Tensor logits = model->forward({sound, picture});
  const double accuracy = (logits.argmax(1) == label).to(torch::kDouble).mean().item<double>();
  std::cout << unbraid::GradientRoute::dgl(1.0) << "accuracy " << accuracy << "\n";
  return accuracy > 0.9 ? 0 : 1;
}
