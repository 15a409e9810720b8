// A task of your own, trained by the trainer: a direction, seen by two modalities. Argument: folder
// of the run.
#include <iostream>

#include "unbraid/data/tensor_data_set.h"
#include "unbraid/methods/dgl.h"
#include "unbraid/models/encoders/mlp.h"
#include "unbraid/models/fusions/concat.h"
#include "unbraid/training/trainer.h"

/// The cosine between output and target, both [B, 2].
torch::Tensor cosine(const torch::Tensor& output, const torch::Tensor& target) {
  return torch::cosine_similarity(output, target, 1);
}

/// The mean of it over a split; the largest one is the best epoch.
class MeanCosine : public unbraid::Metrics {
 public:
  void update(const torch::Tensor& output, const torch::Tensor& target) override {
    sum_ += cosine(output, target).sum().item<double>();
    count_ += static_cast<double>(output.size(0));
  }
  [[nodiscard]] std::vector<std::pair<std::string, double>> values() const override {
    return {{"cosine", sum_ / count_}};
  }

 private:
  double sum_ = 0;
  double count_ = 0;
};

/// Learns directions in the plane; a label in a manifest would be an angle in radians.
class Direction : public unbraid::Task {
 public:
  [[nodiscard]] int64_t outputs() const override { return 2; }
  [[nodiscard]] torch::Tensor target(const std::string& label) const override {
    const double angle = std::stod(label);
    return torch::tensor({std::cos(angle), std::sin(angle)}, torch::kFloat);
  }
  [[nodiscard]] torch::Tensor loss(const torch::Tensor& output,
                                   const torch::Tensor& target) const override {
    return 1.0 - cosine(output, target).mean();
  }
  [[nodiscard]] std::unique_ptr<unbraid::Metrics> metrics() const override {
    return std::make_unique<MeanCosine>();
  }
  [[nodiscard]] std::vector<std::string> prediction_columns() const override { return {"angle"}; }
  [[nodiscard]] std::vector<std::vector<std::string>> predictions(
      const torch::Tensor& output) const override {
    std::vector<std::vector<std::string>> rows;
    for (int64_t i = 0; i < output.size(0); ++i) {
      const torch::Tensor angle = torch::atan2(output[i][1], output[i][0]);
      rows.push_back({std::to_string(angle.item<double>())});
    }
    return rows;
  }
};

/// Directions, each seen twice through noise.
std::shared_ptr<unbraid::DataSet> make_data(int64_t size) {
  const torch::Tensor angle = 6.28319 * torch::rand({size});
  const torch::Tensor direction = torch::stack({angle.cos(), angle.sin()}, 1);
  const auto view = [&] {
    return torch::cat({direction, direction}, 1) + 0.5 * torch::randn({size, 4});
  };
  return std::make_shared<unbraid::TensorDataSet>(std::vector<torch::Tensor>{view(), view()},
                                                  direction);
}

int main(int argc, char** argv) {  // NOLINT(bugprone-exception-escape)
  torch::manual_seed(0);
  unbraid::TrainingParts parts;
  parts.task = std::make_shared<Direction>();
  parts.model = unbraid::MultimodalModel();
  for (const char* name : {"left", "right"}) {
    parts.model->add_encoder(name, std::make_shared<unbraid::Mlp>(std::vector<int64_t>{4, 16}));
  }
  parts.model->set_fusion(std::make_shared<unbraid::ConcatFusion>(
      unbraid::FusionShape{{"left", "right"}, {16, 16}, parts.task->outputs()}));
  parts.method = std::make_shared<unbraid::Dgl>(1.0);
  parts.train = make_data(512);
  parts.val = make_data(128);
  parts.test = make_data(128);
  unbraid::TrainingSettings settings;
  settings.epochs = 4;
  settings.batch_size = 32;
  settings.optimizer = {.type = "adam", .lr = 0.01};
  auto run = unbraid::RunDirectory::create(argc > 1 ? argv[1] : "runs/own_task");
  const unbraid::TrainingResult result = unbraid::train(parts, settings, run);

  const double mean = result.test.fused.selecting();
  std::cout << "mean cosine on test " << mean << ", of the left alone "
            << result.test.alone[0].selecting() << "\n";
  return mean > 0.9 ? 0 : 1;
}
