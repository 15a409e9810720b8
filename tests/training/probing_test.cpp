#include "unbraid/training/probing.h"

#include <csignal>
#include <sstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "temporary_folder.h"
#include "unbraid/core/random.h"
#include "unbraid/core/stop.h"
#include "unbraid/data/tensor_data_set.h"
#include "unbraid/methods/dgl.h"
#include "unbraid/models/encoders/mlp.h"
#include "unbraid/models/fusions/concat.h"
#include "unbraid/models/initialisation.h"
#include "unbraid/tasks/classification.h"
#include "unbraid/training/trainer.h"

namespace unbraid {
namespace {

using nlohmann::json;
using testing::read_text;
using testing::TemporaryFolder;
using testing::write_text;

constexpr int64_t kInputs = 5;

/// Two views of one of three classes, with noise that is drawn anew in training; every fifth sample
/// lacks the second.
class NoisyData : public DataSet {
 public:
  explicit NoisyData(size_t size) {
    for (size_t i = 0; i < size; ++i) {
      ids_.push_back("sample" + std::to_string(i));
    }
  }
  [[nodiscard]] size_t size() const override { return ids_.size(); }
  [[nodiscard]] const std::string& id(size_t index) const override { return ids_.at(index); }
  [[nodiscard]] Sample get(size_t index, uint64_t epoch, bool training) const override {
    RandomStream random =
        RandomStream::of(3, training ? epoch : 0, ids_[index], training ? "augmented" : "plain");
    Sample sample;
    for (int m = 0; m < 2; ++m) {
      torch::Tensor x = torch::zeros({kInputs});
      for (int64_t i = 0; i < kInputs; ++i) {
        x[i] = 0.5 * random.normal() + (i == static_cast<int64_t>(index % 3) ? 1.0 : 0.0);
      }
      sample.inputs.push_back(m == 1 && index % 5 == 4 ? torch::Tensor() : x);
    }
    sample.target = torch::tensor(static_cast<int64_t>(index % 3));
    return sample;
  }

 private:
  std::vector<std::string> ids_;
};

/// With running statistics and dropout.
class EncoderImpl : public torch::nn::Module {
 public:
  EncoderImpl()
      : fc_(register_module("fc", torch::nn::Linear(kInputs, 4))),
        bn_(register_module("bn", torch::nn::BatchNorm1d(4))),
        dropout_(register_module("dropout", torch::nn::Dropout(0.3))) {}
  torch::Tensor forward(const torch::Tensor& x) { return dropout_(torch::relu(bn_(fc_(x)))); }

 private:
  torch::nn::Linear fc_;
  torch::nn::BatchNorm1d bn_;
  torch::nn::Dropout dropout_;
};
TORCH_MODULE(Encoder);

TrainingParts make_parts() {
  TrainingParts parts;
  parts.model = MultimodalModel();
  parts.model->add_encoder("audio", Encoder());
  parts.model->add_encoder("visual", Encoder());
  parts.model->set_fusion(
      std::make_shared<ConcatFusion>(FusionShape{{"audio", "visual"}, {4, 4}, 3}));
  initialise(*parts.model, 5);
  parts.task = std::make_shared<Classification>(ClassificationOptions{.classes = 3});
  parts.method = std::make_shared<Dgl>(2.0);
  parts.train = std::make_shared<NoisyData>(40);
  parts.val = std::make_shared<NoisyData>(20);
  return parts;
}

TrainingSettings make_settings(int64_t probe_batches) {
  TrainingSettings settings;
  settings.seed = 9;
  settings.batch_size = 8;
  settings.optimizer = {.type = "sgd", .lr = 0.05, .weight_decay = 1e-3};
  settings.epochs = 3;
  settings.ema = 0.9;
  settings.probe_batches = probe_batches;
  return settings;
}

std::vector<json> lines_of(const std::filesystem::path& path) {
  std::vector<json> lines;
  std::istringstream text(read_text(path));
  for (std::string line; std::getline(text, line);) {
    lines.push_back(json::parse(line));
  }
  return lines;
}

TEST(Probing, ARunWithProbesIsTheOneWithout) {
  const TemporaryFolder folder;
  std::vector<torch::Tensor> drawn;
  for (const int64_t batches : {0, 2}) {
    TrainingParts parts = make_parts();
    RunDirectory directory = RunDirectory::create(folder / std::to_string(batches), "");
    train(parts, make_settings(batches), directory);
    drawn.push_back(torch::rand({4}));
  }
  EXPECT_TRUE(torch::equal(drawn[0], drawn[1]));
  for (const char* checkpoint : {"last", "best"}) {
    for (const char* file :
         {"model.safetensors", "trained.safetensors", "optimizer.safetensors", "state.json"}) {
      const std::string path = std::string("checkpoints/") + checkpoint + "/" + file;
      EXPECT_EQ(read_text(folder / ("0/" + path)), read_text(folder / ("2/" + path))) << path;
    }
  }
  const auto plain = lines_of(folder / "0/metrics.jsonl");
  const auto probed = lines_of(folder / "2/metrics.jsonl");
  ASSERT_EQ(plain.size(), probed.size());
  for (size_t i = 0; i < plain.size(); ++i) {
    json left = plain[i];
    json right = probed[i];
    for (const char* timed : {"seconds", "samples_per_second"}) {
      left.erase(timed);
      right.erase(timed);
    }
    EXPECT_EQ(left, right);
  }
  EXPECT_FALSE(std::filesystem::exists(folder / "0/probes.jsonl"));
}

TEST(Probing, EachEpochHasALine) {
  const TemporaryFolder folder;
  TrainingParts parts = make_parts();
  RunDirectory directory = RunDirectory::create(folder / "run", "");
  const TrainingSettings settings = make_settings(2);
  train(parts, settings, directory);
  const auto lines = lines_of(folder / "run/probes.jsonl");
  ASSERT_EQ(lines.size(), 3);
  for (size_t i = 0; i < lines.size(); ++i) {
    EXPECT_EQ(lines[i]["epoch"], i + 1);
    for (const char* modality : {"audio", "visual"}) {
      const json& values = lines[i]["modalities"][modality];
      for (const char* key : {"feature_ratio", "feature_ratio_median", "feature_cosine",
                              "share_below_one", "encoder_ratio", "encoder_cosine",
                              "closed_form_ratio", "residual_ratio", "share_surer"}) {
        EXPECT_TRUE(values[key].is_number()) << key;
      }
      EXPECT_NEAR(values["closed_form_ratio"], values["feature_ratio"], 1e-5);
      EXPECT_LT(values["closed_form_error"], 1e-5);
    }
  }
  // The first batches of train in order, as they are without augmentation: of 16 samples 3 lack the
  // second modality. The last line is of the weights that were trained.
  EXPECT_EQ(lines[2]["modalities"]["audio"]["samples"], 16);
  EXPECT_EQ(lines[2]["modalities"]["visual"]["samples"], 13);
  TrainingParts again = make_parts();
  WeightAverage average(*again.model, 0.9);
  directory.load("last", *again.model, nullptr, &average);
  EXPECT_EQ(
      json::parse(to_json(probe_gradients(*again.model, *again.task, again.train, settings, 2),
                          *again.model)
                      .dump()),
      lines[2]["modalities"]);
}

/// Asks to stop in epoch 3.
class StopInEpoch3 : public TrainingObserver {
 public:
  void on_batch(int64_t epoch, size_t batch, size_t /*batches*/, double /*loss*/) override {
    if (epoch == 3 && batch == 2) {
      request_stop(SIGTERM);
    }
  }
};

TEST(Probing, ARunThatContinuesHasTheSameLines) {
  const TemporaryFolder folder;
  const TrainingParts whole = make_parts();
  RunDirectory whole_directory = RunDirectory::create(folder / "whole", "");
  train(whole, make_settings(2), whole_directory);
  RunDirectory directory = RunDirectory::create(folder / "run", "");
  StopInEpoch3 stop;
  EXPECT_THROW(train(make_parts(), make_settings(2), directory, false, &stop), Error);
  request_stop(0);
  // As a kill leaves it after the probes of epoch 3, before its checkpoint.
  const std::string cut = read_text(folder / "run/probes.jsonl") +
                          "{\"epoch\":3,\"modalities\":{}}\n{\"epoch\":4,\"mod";
  write_text(folder / "run/probes.jsonl", cut);
  RunDirectory reopened = RunDirectory::open(folder / "run");
  train(make_parts(), make_settings(2), reopened, true);
  EXPECT_EQ(read_text(folder / "run/probes.jsonl"), read_text(folder / "whole/probes.jsonl"));
  EXPECT_EQ(read_text(folder / "run/checkpoints/last/model.safetensors"),
            read_text(folder / "whole/checkpoints/last/model.safetensors"));
}

TEST(Probing, TakesBatchesInOrderAndAsManyAsThereAre) {
  const auto data = std::make_shared<NoisyData>(20);
  std::vector<std::string> ids;
  const TrainingSettings settings = make_settings(0);
  for_first_batches(data, settings, 2, [&](const Batch& batch) {
    ids.insert(ids.end(), batch.ids.begin(), batch.ids.end());
    EXPECT_TRUE(torch::equal(batch.inputs[0][0],
                             data->get(ids.size() - batch.ids.size(), 0, false).inputs[0]));
  });
  ASSERT_EQ(ids.size(), 16);
  EXPECT_EQ(ids.front(), "sample0");
  EXPECT_EQ(ids.back(), "sample15");
  ids.clear();
  for_first_batches(data, settings, 100, [&](const Batch& batch) {
    ids.insert(ids.end(), batch.ids.begin(), batch.ids.end());
  });
  EXPECT_EQ(ids.size(), 20);
  request_stop(SIGINT);
  EXPECT_THROW(for_first_batches(data, settings, 1, [](const Batch&) {}), Error);
  request_stop(0);
}

TEST(EvaluateSubsets, SamplesThatHaveNoneGetTheOtherAnswer) {
  TrainingParts parts = make_parts();
  const TrainingSettings settings = make_settings(0);
  const torch::Tensor always_second = torch::tensor({0.0F, 1.0F, 0.0F});
  const auto rows = evaluate_subsets(*parts.model, *parts.task, parts.val, settings, always_second);
  ASSERT_EQ(rows.size(), 4);
  const torch::NoGradGuard no_grad;
  parts.model->eval();
  for (const SubsetScores& row : rows) {
    EXPECT_EQ(row.samples, 20);
    int hits = 0;
    double loss = 0;
    for (size_t i = 0; i < 20; ++i) {
      const Sample sample = parts.val->get(i, 0, false);
      ModalityTensors inputs(2);
      for (size_t m = 0; m < 2; ++m) {
        if (row.present[m] && sample.inputs[m].defined()) {
          inputs[m] = sample.inputs[m].unsqueeze(0);
        }
      }
      const torch::Tensor output = inputs[0].defined() || inputs[1].defined()
                                       ? parts.model->forward(inputs)
                                       : always_second.unsqueeze(0);
      hits += output.argmax(1).item<int64_t>() == sample.target.item<int64_t>() ? 1 : 0;
      loss += parts.task->loss(output, sample.target.unsqueeze(0)).item<double>() / 20;
    }
    EXPECT_NEAR(row.scores.selecting(), hits / 20.0, 1e-12);
    EXPECT_NEAR(row.scores.loss, loss, 1e-5);
  }
  EXPECT_EQ(rows.front().present, (std::vector<bool>{false, false}));
  EXPECT_NEAR(rows.front().scores.selecting(), 7 / 20.0, 1e-12);
  // Without such an answer they are left out.
  const auto scored = evaluate_subsets(*parts.model, *parts.task, parts.val, settings);
  ASSERT_EQ(scored.size(), 3);
  EXPECT_EQ(scored[1].samples, 16);
}

}  // namespace
}  // namespace unbraid
