// An encoder of your own beside one of ours, trained by the trainer. Argument: folder of the run.
#include <iostream>

#include "unbraid/data/tensor_data_set.h"
#include "unbraid/methods/dgl.h"
#include "unbraid/models/encoders/mlp.h"
#include "unbraid/models/fusions/concat.h"
#include "unbraid/tasks/classification.h"
#include "unbraid/training/trainer.h"

/// The last state of a GRU: [B, T, 6] -> [B, 16]. Any module with such a forward is an encoder.
struct GruEncoderImpl : torch::nn::Module {
  torch::nn::GRU gru =
      register_module("gru", torch::nn::GRU(torch::nn::GRUOptions(6, 16).batch_first(true)));

  torch::Tensor forward(const torch::Tensor& input) {
    return std::get<0>(gru->forward(input)).select(1, -1);
  }
};
TORCH_MODULE(GruEncoder);

/// Two modalities that tell one of two classes: a sequence that rises or falls, and a noisy vector.
std::shared_ptr<unbraid::DataSet> make_data(int64_t size) {
  const torch::Tensor label = torch::randint(0, 2, {size});
  const torch::Tensor sign = 2.0 * label.to(torch::kFloat) - 1.0;
  const torch::Tensor time = torch::linspace(-1, 1, 10);
  const torch::Tensor rise = sign.view({size, 1, 1}) * time.view({1, 10, 1});
  return std::make_shared<unbraid::TensorDataSet>(
      std::vector<torch::Tensor>{rise + 0.5 * torch::randn({size, 10, 6}),
                                 sign.unsqueeze(1) + 2.0 * torch::randn({size, 8})},
      label);
}

int main(int argc, char** argv) {  // NOLINT(bugprone-exception-escape)
  torch::manual_seed(0);
  unbraid::MultimodalModel model;
  model->add_encoder("motion", GruEncoder());
  model->add_encoder("image", std::make_shared<unbraid::Mlp>(std::vector<int64_t>{8, 16}));
  model->set_fusion(std::make_shared<unbraid::ConcatFusion>(
      unbraid::FusionShape{{"motion", "image"}, {16, 16}, 2}));

  unbraid::TrainingParts parts;
  parts.model = model;
  parts.task = std::make_shared<unbraid::Classification>(unbraid::ClassificationOptions{});
  parts.method = std::make_shared<unbraid::Dgl>(1.0);
  parts.train = make_data(512);
  parts.val = make_data(128);
  parts.test = make_data(128);
  unbraid::TrainingSettings settings;
  settings.epochs = 4;
  settings.batch_size = 32;
  settings.optimizer = {.type = "adam", .lr = 0.01};
  auto run = unbraid::RunDirectory::create(argc > 1 ? argv[1] : "runs/own_encoder");
  const unbraid::TrainingResult result = unbraid::train(parts, settings, run);

  const double accuracy = result.test.fused.selecting();
  std::cout << "test accuracy " << accuracy << ", of the GRU alone "
            << result.test.alone[0].selecting() << "\n";
  return accuracy > 0.9 ? 0 : 1;
}
