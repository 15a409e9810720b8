// A fusion module of your own, trained by the trainer. Argument: folder of the run.
#include <iostream>

#include "unbraid/data/tensor_data_set.h"
#include "unbraid/methods/dgl.h"
#include "unbraid/models/encoders/mlp.h"
#include "unbraid/tasks/classification.h"
#include "unbraid/training/trainer.h"

/// The largest of the modalities' values, then a classifier: any number of modalities, with
/// features of one size. An undefined feature means that this modality is absent.
struct LargestFusionImpl : torch::nn::Module {
  torch::nn::Linear fc_out = register_module("fc_out", torch::nn::Linear(16, 2));

  torch::Tensor forward(const unbraid::ModalityTensors& features) {
    torch::Tensor largest;
    for (const torch::Tensor& feature : features) {
      if (feature.defined()) {
        largest = largest.defined() ? torch::maximum(largest, feature) : feature;
      }
    }
    return fc_out(largest);
  }
};
TORCH_MODULE(LargestFusion);

/// Two noisy views of one of two classes.
std::shared_ptr<unbraid::DataSet> make_data(int64_t size) {
  const torch::Tensor label = torch::randint(0, 2, {size});
  const torch::Tensor sign = 2.0 * label.to(torch::kFloat).unsqueeze(1) - 1.0;
  return std::make_shared<unbraid::TensorDataSet>(
      std::vector<torch::Tensor>{sign + 1.5 * torch::randn({size, 8}),
                                 sign + 1.5 * torch::randn({size, 8})},
      label);
}

int main(int argc, char** argv) {  // NOLINT(bugprone-exception-escape)
  torch::manual_seed(0);
  unbraid::MultimodalModel model;
  for (const char* name : {"left", "right"}) {
    model->add_encoder(name, std::make_shared<unbraid::Mlp>(std::vector<int64_t>{8, 16, 16}));
  }
  model->set_fusion(LargestFusion());

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
  auto run = unbraid::RunDirectory::create(argc > 1 ? argv[1] : "runs/own_fusion");
  const unbraid::TrainingResult result = unbraid::train(parts, settings, run);

  const double accuracy = result.test.fused.selecting();
  std::cout << "test accuracy " << accuracy << ", of the left alone "
            << result.test.alone[0].selecting() << "\n";
  return accuracy > 0.9 ? 0 : 1;
}
