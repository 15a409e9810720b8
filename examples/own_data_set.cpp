// A data set of your own, trained by the trainer: samples with random augmentation, some without
// one of their modalities. Argument: folder of the run.
#include <iostream>

#include "unbraid/core/random.h"
#include "unbraid/data/data_set.h"
#include "unbraid/methods/dgl.h"
#include "unbraid/models/encoders/mlp.h"
#include "unbraid/models/fusions/concat.h"
#include "unbraid/tasks/classification.h"
#include "unbraid/training/trainer.h"

/// Sine waves of one of three frequencies, and a vector that tells the frequency with noise. Worker
/// threads call `get`, so that it changes nothing; what is random is a function of its arguments.
class Waves : public unbraid::DataSet {
 public:
  Waves(const std::string& name, size_t size) {
    for (size_t i = 0; i < size; ++i) {
      ids_.push_back(name + std::to_string(i));
    }
  }
  [[nodiscard]] size_t size() const override { return ids_.size(); }
  [[nodiscard]] const std::string& id(size_t index) const override { return ids_.at(index); }
  [[nodiscard]] unbraid::Sample get(size_t index, uint64_t epoch, bool training) const override {
    const auto label = static_cast<int64_t>(index % 3);
    auto random = unbraid::RandomStream::of(0, training ? epoch : 0, ids_[index], "phase");
    const double phase = 6.28319 * random.uniform();
    const torch::Tensor time = torch::arange(32, torch::kFloat) / 32.0;
    unbraid::Sample sample;
    sample.inputs.push_back(torch::sin(6.28319 * (1.0 + label) * time + phase));
    torch::Tensor vector = torch::zeros({3});
    for (int64_t i = 0; i < 3; ++i) {
      vector[i] = 0.5 * random.normal() + (i == label ? 1.0 : 0.0);
    }
    const bool has_vector = index % 4 != 0;
    sample.inputs.push_back(has_vector ? vector : torch::Tensor());  // undefined: missing
    sample.target = torch::tensor(label);
    return sample;
  }

 private:
  std::vector<std::string> ids_;
};

int main(int argc, char** argv) {  // NOLINT(bugprone-exception-escape)
  torch::manual_seed(0);
  unbraid::MultimodalModel model;
  model->add_encoder("wave", std::make_shared<unbraid::Mlp>(std::vector<int64_t>{32, 64, 16}));
  model->add_encoder("vector", std::make_shared<unbraid::Mlp>(std::vector<int64_t>{3, 16}));
  model->set_fusion(std::make_shared<unbraid::ConcatFusion>(
      unbraid::FusionShape{{"wave", "vector"}, {16, 16}, 3}));

  unbraid::TrainingParts parts;
  parts.model = model;
  parts.task =
      std::make_shared<unbraid::Classification>(unbraid::ClassificationOptions{.classes = 3});
  parts.method = std::make_shared<unbraid::Dgl>(1.0);
  parts.train = std::make_shared<Waves>("train", 600);
  parts.val = std::make_shared<Waves>("val", 150);
  parts.test = std::make_shared<Waves>("test", 150);
  unbraid::TrainingSettings settings;
  settings.epochs = 8;
  settings.batch_size = 30;
  settings.optimizer = {.type = "adam", .lr = 0.01};
  auto run = unbraid::RunDirectory::create(argc > 1 ? argv[1] : "runs/own_data_set");
  const unbraid::TrainingResult result = unbraid::train(parts, settings, run);

  const double accuracy = result.test.fused.selecting();
  std::cout << "test accuracy " << accuracy << ", of the wave alone "
            << result.test.alone[0].selecting() << "\n";
  return accuracy > 0.9 ? 0 : 1;
}
