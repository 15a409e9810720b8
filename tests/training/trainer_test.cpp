#include "unbraid/training/trainer.h"

#include <cmath>
#include <csignal>
#include <limits>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "temporary_folder.h"
#include "unbraid/core/error.h"
#include "unbraid/core/random.h"
#include "unbraid/core/stop.h"
#include "unbraid/methods/dgl.h"
#include "unbraid/methods/joint.h"
#include "unbraid/models/encoders/mlp.h"
#include "unbraid/models/fusions/concat.h"
#include "unbraid/models/initialisation.h"
#include "unbraid/tasks/classification.h"
#include "unbraid/training/freezing.h"
#include "unbraid/training/weights.h"

namespace unbraid {
namespace {

using nlohmann::json;
using unbraid::testing::read_text;
using unbraid::testing::TemporaryFolder;
using unbraid::testing::write_text;

constexpr int64_t kInputs = 6;

/// Two noisy views of one of three classes; the noise of training samples changes with the epoch.
class ToyData : public DataSet {
 public:
  ToyData(size_t size, uint64_t seed) : seed_(seed) {
    for (size_t i = 0; i < size; ++i) {
      ids_.push_back("sample" + std::to_string(seed) + "-" + std::to_string(i));
    }
  }
  [[nodiscard]] size_t size() const override { return ids_.size(); }
  [[nodiscard]] const std::string& id(size_t index) const override { return ids_.at(index); }
  [[nodiscard]] Sample get(size_t index, uint64_t epoch, bool training) const override {
    RandomStream random = RandomStream::of(seed_, training ? epoch : 0, ids_[index], "noise");
    const auto label = static_cast<int64_t>(index % 3);
    Sample sample;
    for (int m = 0; m < 2; ++m) {
      torch::Tensor x = torch::zeros({kInputs});
      for (int64_t i = 0; i < kInputs; ++i) {
        x[i] = 0.5 * random.normal() + (i == label ? 1.0 : 0.0);
      }
      sample.inputs.push_back(index == poisoned ? x / 0.0 : x);
    }
    sample.target = torch::tensor(label);
    return sample;
  }

  size_t poisoned = std::numeric_limits<size_t>::max();

 private:
  uint64_t seed_;
  std::vector<std::string> ids_;
};

/// An encoder with running statistics and dropout: state that a continued run must have again.
class StatefulEncoderImpl : public torch::nn::Module {
 public:
  StatefulEncoderImpl()
      : fc_(register_module("fc", torch::nn::Linear(kInputs, 8))),
        bn_(register_module("bn", torch::nn::BatchNorm1d(8))),
        dropout_(register_module("dropout", torch::nn::Dropout(0.2))) {}
  torch::Tensor forward(const torch::Tensor& x) { return dropout_(torch::relu(bn_(fc_(x)))); }

 private:
  torch::nn::Linear fc_;
  torch::nn::BatchNorm1d bn_;
  torch::nn::Dropout dropout_;
};
TORCH_MODULE(StatefulEncoder);

TrainingParts make_parts(bool stateful = true) {
  TrainingParts parts;
  parts.model = MultimodalModel();
  for (const char* name : {"audio", "visual"}) {
    if (stateful) {
      parts.model->add_encoder(name, StatefulEncoder());
    } else {
      parts.model->add_encoder(name, std::make_shared<Mlp>(std::vector<int64_t>{kInputs, 8}));
    }
  }
  parts.model->set_fusion(
      std::make_shared<ConcatFusion>(FusionShape{{"audio", "visual"}, {8, 8}, 3}));
  initialise(*parts.model, 5);
  parts.task = std::make_shared<Classification>(ClassificationOptions{.classes = 3});
  parts.method = std::make_shared<Dgl>(2.0);
  parts.train = std::make_shared<ToyData>(50, 1);
  parts.val = std::make_shared<ToyData>(30, 2);
  parts.test = std::make_shared<ToyData>(31, 3);
  return parts;
}

TrainingSettings make_settings() {
  TrainingSettings settings;
  settings.seed = 9;
  settings.batch_size = 8;
  settings.workers = 2;
  settings.optimizer = {.type = "sgd", .lr = 0.05, .weight_decay = 1e-3};
  settings.schedule.type = "cosine";
  settings.epochs = 4;
  settings.clip_norm = 5;
  return settings;
}

std::vector<torch::Tensor> state_of(const TrainingParts& parts) {
  std::vector<torch::Tensor> state;
  for (const torch::Tensor& tensor : parts.model->parameters()) {
    state.push_back(tensor.detach().clone());
  }
  for (const torch::Tensor& tensor : parts.model->buffers()) {
    state.push_back(tensor.clone());
  }
  return state;
}

void expect_same(const std::vector<torch::Tensor>& left, const std::vector<torch::Tensor>& right) {
  ASSERT_EQ(left.size(), right.size());
  for (size_t i = 0; i < left.size(); ++i) {
    EXPECT_TRUE(torch::equal(left[i], right[i])) << i;
  }
}

std::vector<json> metrics_of(const TemporaryFolder& folder, const std::string& run = "run") {
  std::vector<json> lines;
  std::istringstream text(read_text(folder / (run + "/metrics.jsonl")));
  for (std::string line; std::getline(text, line);) {
    lines.push_back(json::parse(line));
  }
  return lines;
}

TEST(Train, LearnsAndLeavesTheRunDirectoryOfTheContract) {
  const TemporaryFolder folder;
  const TrainingParts parts = make_parts();
  TrainingSettings settings = make_settings();
  settings.epochs = 12;
  RunDirectory directory = RunDirectory::create(folder / "run", "recipe = 1\n");
  const TrainingResult result = train(parts, settings, directory);
  EXPECT_GT(result.test.fused.selecting(), 0.7);
  EXPECT_EQ(result.test.samples, 31);

  const auto lines = metrics_of(folder);
  ASSERT_EQ(lines.size(), 12 * 2 + 1);
  EXPECT_EQ(lines[0]["split"], "train");
  EXPECT_EQ(lines[0]["epoch"], 1);
  for (const char* key : {"loss", "lr", "seconds", "samples_per_second"}) {
    EXPECT_TRUE(lines[0][key].is_number()) << key;
  }
  for (const char* part : {"encoders.audio", "encoders.visual", "fusion"}) {
    EXPECT_GT(lines[0]["gradient_norm"][part].get<double>(), 0) << part;
  }
  EXPECT_EQ(lines[1]["split"], "val");
  for (const json* line : {&lines[1], &lines.back()}) {
    EXPECT_TRUE((*line)["accuracy"].is_number());
    EXPECT_TRUE((*line)["accuracy_alone"]["visual"].is_number());
    EXPECT_TRUE((*line)["loss_alone"]["audio"].is_number());
  }
  EXPECT_EQ(lines.back()["split"], "test");
  EXPECT_EQ(lines.back()["epoch"], result.best_epoch);

  const json summary = json::parse(read_text(folder / "run/summary.json"));
  EXPECT_EQ(summary["method"], "dgl");
  EXPECT_EQ(summary["seed"], 9);
  EXPECT_EQ(summary["epochs"], 12);
  EXPECT_EQ(summary["best_epoch"], result.best_epoch);
  EXPECT_EQ(summary["best_by"], "accuracy");
  EXPECT_DOUBLE_EQ(summary["accuracy"], result.test.fused.selecting());
  EXPECT_DOUBLE_EQ(summary["accuracy_alone"]["audio"], result.test.alone[0].selecting());
  EXPECT_GT(summary["peak_rss_mb"].get<double>(), 0);
  EXPECT_GT(summary["step_seconds_median"].get<double>(), 0);
  EXPECT_GE(summary["loader_wait_fraction"].get<double>(), 0);
  for (const char* name : {"last", "best"}) {
    for (const char* file :
         {"model.safetensors", "optimizer.safetensors", "state.json", "MANIFEST"}) {
      EXPECT_TRUE(std::filesystem::exists(folder / "run/checkpoints" / name / file))
          << name << file;
    }
  }
}

TEST(Train, ChoosesTheEarliestBestEpochOnVal) {
  const TemporaryFolder folder;
  const TrainingParts parts = make_parts();
  RunDirectory directory = RunDirectory::create(folder / "run", "");
  const TrainingResult result = train(parts, make_settings(), directory);
  double best = -1;
  int64_t best_epoch = 0;
  for (const json& line : metrics_of(folder)) {
    if (line["split"] == "val" && line["accuracy"].get<double>() > best) {
      best = line["accuracy"];
      best_epoch = line["epoch"];
    }
  }
  EXPECT_EQ(result.best_epoch, best_epoch);
  // The weights reported on test are those of the best checkpoint.
  const TrainingParts other = make_parts();
  RunState state = directory.load("best", *other.model.ptr(), nullptr);
  EXPECT_EQ(state.epoch, best_epoch);
  const Evaluation again = evaluate(*other.model.ptr(), *other.task, other.test, make_settings());
  EXPECT_EQ(again.fused.loss, result.test.fused.loss);
}

/// Scores that are said, epoch by epoch, instead of measured.
class SaidMetrics : public Metrics {
 public:
  SaidMetrics(double value, bool smaller_is_better)
      : value_(value), smaller_is_better_(smaller_is_better) {}
  void update(const torch::Tensor& /*output*/, const torch::Tensor& /*target*/) override {}
  [[nodiscard]] std::vector<std::pair<std::string, double>> values() const override {
    return {{"said", value_}};
  }
  [[nodiscard]] bool smaller_is_better() const override { return smaller_is_better_; }

 private:
  double value_;
  bool smaller_is_better_;
};

class SaidTask : public Classification, public TrainingObserver {
 public:
  SaidTask(std::vector<double> by_epoch, bool smaller_is_better)
      : Classification({.classes = 3}),
        by_epoch_(std::move(by_epoch)),
        smaller_is_better_(smaller_is_better) {}
  void on_batch(int64_t epoch, size_t /*batch*/, size_t /*batches*/, double /*loss*/) override {
    epoch_ = epoch;
  }
  [[nodiscard]] std::unique_ptr<Metrics> metrics() const override {
    return std::make_unique<SaidMetrics>(by_epoch_.at(static_cast<size_t>(epoch_ - 1)),
                                         smaller_is_better_);
  }

 private:
  std::vector<double> by_epoch_;
  bool smaller_is_better_;
  int64_t epoch_ = 1;
};

TEST(Train, TheBestEpochMayHaveTheSmallestValueAndIsNeverNaN) {
  struct Case {
    std::vector<double> by_epoch;
    bool smaller_is_better;
    int64_t best;
  };
  const double nan = std::nan("");
  for (const Case& expected : {Case{{3, 2, 4, 2}, true, 2}, Case{{3, 2, 4, 4}, false, 3},
                               Case{{nan, nan, -7, nan}, false, 3}, Case{{nan, 5, 4, nan}, true, 3},
                               Case{{nan, nan, nan, nan}, true, 1}}) {
    SCOPED_TRACE(fmt::format("{}", fmt::join(expected.by_epoch, " ")));
    const TemporaryFolder folder;
    TrainingParts parts = make_parts();
    const auto task = std::make_shared<SaidTask>(expected.by_epoch, expected.smaller_is_better);
    parts.task = task;
    // Stopped and continued after two epochs: what was best until then is known from the disk.
    RunDirectory directory = RunDirectory::create(folder / "run", "");
    class StopSaid : public TrainingObserver {
     public:
      explicit StopSaid(SaidTask& task) : task_(task) {}
      void on_batch(int64_t epoch, size_t batch, size_t batches, double loss) override {
        task_.on_batch(epoch, batch, batches, loss);
        request_stop(epoch == 3 ? SIGTERM : 0);
      }

     private:
      SaidTask& task_;
    } stop(*task);
    EXPECT_THROW(train(parts, make_settings(), directory, false, &stop), Error);
    request_stop(0);
    TrainingParts continued = make_parts();
    continued.task = task;
    RunDirectory reopened = RunDirectory::open(folder / "run");
    const TrainingResult result = train(continued, make_settings(), reopened, true, task.get());
    EXPECT_EQ(result.best_epoch, expected.best);
    const json summary = json::parse(read_text(folder / "run/summary.json"));
    EXPECT_EQ(summary["best_by"], "said");
    const double value = expected.by_epoch[static_cast<size_t>(expected.best - 1)];
    EXPECT_EQ(summary["best_val"], json::parse(json(value).dump()));
    EXPECT_EQ(result.test.fused.smaller_is_better, expected.smaller_is_better);
  }
}

/// Asks to stop at a batch.
class StopAt : public TrainingObserver {
 public:
  StopAt(int64_t epoch, size_t batch, int signal) : epoch_(epoch), batch_(batch), signal_(signal) {}
  void on_batch(int64_t epoch, size_t batch, size_t /*batches*/, double /*loss*/) override {
    if (epoch == epoch_ && batch == batch_) {
      request_stop(signal_);
    }
  }

 private:
  int64_t epoch_;
  size_t batch_;
  int signal_;
};

TEST(Train, SaysThatTheDataHasChangedWhereItContinues) {
  class Warned : public TrainingObserver {
   public:
    void on_warning(const std::string& text) override { texts.push_back(text); }
    std::vector<std::string> texts;
  };
  const TemporaryFolder folder;
  TrainingSettings settings = make_settings();
  RunDirectory directory = RunDirectory::create(folder / "run", "");
  TrainingParts parts = make_parts();
  parts.data_hash = {"m", {{"audio/train", "1"}}};
  settings.epochs = 1;
  Warned warned;
  train(parts, settings, directory, false, &warned);
  EXPECT_EQ(directory.state("last").data.files, parts.data_hash.files);
  train(parts, settings, directory, true, &warned);
  EXPECT_TRUE(warned.texts.empty());
  parts.data_hash.files["audio/train"] = "2";
  settings.epochs = 2;
  train(parts, settings, directory, true, &warned);
  EXPECT_EQ(warned.texts, (std::vector<std::string>{"the data has changed since epoch 1: the files "
                                                    "of audio/train (hash 2, not 1) differ"}));
}

TEST(Train, AStoppedRunContinuesBitForBit) {
  struct Case {
    std::string optimizer;
    double ema;
    std::vector<ParameterGroup> groups;
  };
  const std::vector<Case> cases = {
      {"sgd", 0, {}},
      {"adamw", 0, {}},
      {"sgd", 0.95, {{"encoders.audio.*", 0.1, 0}, {"*.bias", 2, 0.1}}},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.optimizer);
    const TemporaryFolder folder;
    TrainingSettings settings = make_settings();
    settings.optimizer.type = one.optimizer;
    settings.optimizer.lr = 0.01;
    settings.optimizer.groups = one.groups;
    settings.ema = one.ema;
    const TrainingParts whole = make_parts();
    RunDirectory whole_directory = RunDirectory::create(folder / "whole", "");
    train(whole, settings, whole_directory);

    const TrainingParts stopped = make_parts();
    RunDirectory directory = RunDirectory::create(folder / "run", "");
    StopAt stop(3, 2, SIGTERM);
    try {
      train(stopped, settings, directory, false, &stop);
      ADD_FAILURE() << "it was not stopped";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kTerminated);
      EXPECT_NE(std::string(error.what()).find("2 of 4 epochs are saved"), std::string::npos)
          << error.what();
    }
    request_stop(0);
    const TrainingParts continued = make_parts();
    torch::manual_seed(12345);
    RunDirectory reopened = RunDirectory::open(folder / "run");
    train(continued, settings, reopened, true);
    expect_same(state_of(whole), state_of(continued));

    const auto left = metrics_of(folder, "whole");
    const auto right = metrics_of(folder, "run");
    ASSERT_EQ(left.size(), right.size());
    for (size_t i = 0; i < left.size(); ++i) {
      EXPECT_EQ(left[i]["epoch"], right[i]["epoch"]);
      EXPECT_EQ(left[i]["split"], right[i]["split"]);
      EXPECT_EQ(left[i]["loss"], right[i]["loss"]);
    }
    for (const auto& entry :
         std::filesystem::directory_iterator(folder / "whole/checkpoints/last/")) {
      const std::string name = entry.path().filename();
      if (name.ends_with(".safetensors")) {  // the average and the weights trained on
        EXPECT_EQ(read_text(entry.path()), read_text(folder / ("run/checkpoints/last/" + name)))
            << name;
      }
    }
  }
}

TEST(Train, TheAverageOfTheWeightsIsWhatIsValidatedKeptAndTested) {
  const TemporaryFolder folder;
  TrainingSettings settings = make_settings();
  settings.ema = 0.9;
  settings.epochs = 3;
  const TrainingParts parts = make_parts();
  RunDirectory directory = RunDirectory::create(folder / "run", "");
  const TrainingResult result = train(parts, settings, directory);

  // The same run without an average trains the same weights.
  TrainingSettings plain_settings = settings;
  plain_settings.ema = 0;
  const TrainingParts plain = make_parts();
  RunDirectory plain_directory = RunDirectory::create(folder / "plain", "");
  train(plain, plain_settings, plain_directory);
  plain_directory.load("last", *plain.model.ptr(), nullptr);
  const TrainingParts other = make_parts();
  load_weights(*other.model.ptr(), (folder / "run/checkpoints/last/trained.safetensors").string());
  expect_same(state_of(plain), state_of(other));
  EXPECT_FALSE(std::filesystem::exists(folder / "plain/checkpoints/last/trained.safetensors"));

  // And the average is what the lines on val and the test are of.
  const auto lines = metrics_of(folder);
  directory.load("last", *other.model.ptr(), nullptr);
  EXPECT_FALSE(torch::equal(other.model->parameters()[0], plain.model->parameters()[0]));
  EXPECT_EQ(evaluate(*other.model.ptr(), *other.task, other.val, settings).fused.loss,
            lines[5]["loss"].get<double>());
  EXPECT_NE(lines[5]["loss"], metrics_of(folder, "plain")[5]["loss"]);
  directory.load("best", *other.model.ptr(), nullptr);
  EXPECT_EQ(evaluate(*other.model.ptr(), *other.task, other.test, settings).fused.loss,
            result.test.fused.loss);
}

TEST(Train, FrozenPartsStayAsTheyAre) {
  const TemporaryFolder folder;
  for (const double ema : {0.0, 0.9}) {
    TrainingSettings settings = make_settings();
    settings.ema = ema;
    const TrainingParts parts = make_parts();
    freeze(*parts.model.ptr(), {"encoders.audio.*"}, "");
    const auto before = state_of(parts);
    RunDirectory directory = RunDirectory::create(folder / std::to_string(ema), "");
    train(parts, settings, directory);
    const auto after = state_of(parts);
    const auto weights = weights_of(*parts.model);
    for (size_t i = 0; i < weights.size(); ++i) {  // statistics too
      EXPECT_EQ(torch::equal(before[i], after[i]), weights[i].first.starts_with("encoders.audio."))
          << weights[i].first;
    }
    const json line = metrics_of(folder, std::to_string(ema))[0];
    EXPECT_EQ(line["gradient_norm"]["encoders.audio"], 0.0);
    EXPECT_GT(line["gradient_norm"]["encoders.visual"].get<double>(), 0);
    EXPECT_TRUE(line["loss_alone"]["audio"].is_number());  // it is still watched
  }
}

/// Asks to stop while it runs, or counts its runs.
class StoppingEncoder : public Mlp {
 public:
  explicit StoppingEncoder(int signal) : Mlp({kInputs, 8}), signal_(signal) {}
  torch::Tensor forward(const torch::Tensor& input) override {
    ++runs;
    request_stop(signal_);
    return Mlp::forward(input);
  }
  int runs = 0;

 private:
  int signal_;
};

TEST(Train, StopsBetweenModalities) {
  const TemporaryFolder folder;
  TrainingParts parts = make_parts();
  parts.model = MultimodalModel();
  const auto second = std::make_shared<StoppingEncoder>(0);
  parts.model->add_encoder("audio", std::make_shared<StoppingEncoder>(SIGTERM));
  parts.model->add_encoder("visual", second);
  parts.model->set_fusion(
      std::make_shared<ConcatFusion>(FusionShape{{"audio", "visual"}, {8, 8}, 3}));
  RunDirectory directory = RunDirectory::create(folder / "run", "");
  EXPECT_THROW(train(parts, make_settings(), directory), Error);
  request_stop(0);
  EXPECT_EQ(second->runs, 0);
  EXPECT_THROW(evaluate(*parts.model.ptr(), *parts.task, parts.val, make_settings()), Error);
  request_stop(0);
  EXPECT_EQ(second->runs, 0);
}

TEST(Train, StopsWhileItValidates) {
  const TemporaryFolder folder;
  RunDirectory directory = RunDirectory::create(folder / "run", "");
  StopAt stop(1, 6, SIGTERM);  // the last batch of the epoch
  EXPECT_THROW(train(make_parts(), make_settings(), directory, false, &stop), Error);
  request_stop(0);
  EXPECT_TRUE(metrics_of(folder).empty());
}

TEST(Train, StartsWhereNoCheckpointWasSaved) {
  const TemporaryFolder folder;
  RunDirectory directory = RunDirectory::create(folder / "run", "");
  EXPECT_EQ(train(make_parts(), make_settings(), directory, true).test.samples, 31);
}

TEST(Train, KeepsTheSummaryOfAFinishedRun) {
  const TemporaryFolder folder;
  RunDirectory directory = RunDirectory::create(folder / "run", "");
  train(make_parts(), make_settings(), directory);
  const std::string summary = read_text(folder / "run/summary.json");
  const auto lines = metrics_of(folder).size();
  train(make_parts(), make_settings(), directory, true);
  EXPECT_EQ(read_text(folder / "run/summary.json"), summary);
  EXPECT_EQ(metrics_of(folder).size(), lines);
}

TEST(Train, WhatAFinishedRunSaysOfTestAgreesWhateverBecomesOfTest) {
  class Unreadable : public ToyData {
   public:
    using ToyData::ToyData;
    [[nodiscard]] Sample get(size_t /*index*/, uint64_t /*epoch*/,
                             bool /*training*/) const override {
      throw DataError("gone");
    }
  };
  const TemporaryFolder folder;
  RunDirectory directory = RunDirectory::create(folder / "run", "");
  train(make_parts(), make_settings(), directory);
  const std::string summary = read_text(folder / "run/summary.json");
  const std::string metrics = read_text(folder / "run/metrics.jsonl");
  TrainingParts parts = make_parts();
  parts.test = std::make_shared<Unreadable>(31, 3);
  EXPECT_THROW(train(parts, make_settings(), directory, true), DataError);
  parts.test = nullptr;
  train(parts, make_settings(), directory, true);
  EXPECT_EQ(read_text(folder / "run/summary.json"), summary);
  EXPECT_EQ(read_text(folder / "run/metrics.jsonl"), metrics);
  // Of other samples it has other scores, in both places.
  parts.test = std::make_shared<ToyData>(40, 4);
  train(parts, make_settings(), directory, true);
  const json tested = metrics_of(folder).back();
  EXPECT_NE(tested["loss"], json::parse(summary)["loss"]);
  EXPECT_EQ(tested["loss"], json::parse(read_text(folder / "run/summary.json"))["loss"]);
}

TEST(Train, IsAloneInItsFolder) {
  const TemporaryFolder folder;
  RunDirectory directory = RunDirectory::create(folder / "run", "");
  const FileDescriptor held = directory.lock();
  EXPECT_THROW(train(make_parts(), make_settings(), directory), StorageError);
}

TEST(Train, StopsWithTheSignalsOwnCode) {
  const TemporaryFolder folder;
  RunDirectory directory = RunDirectory::create(folder / "run", "");
  StopAt stop(1, 1, SIGINT);
  try {
    train(make_parts(), make_settings(), directory, false, &stop);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kInterrupted);
  }
  request_stop(0);
}

TEST(Train, DoesNotDependOnTheNumberOfWorkers) {
  const TemporaryFolder folder;
  std::vector<std::vector<torch::Tensor>> states;
  for (const int workers : {0, 1, 3}) {
    TrainingSettings settings = make_settings();
    settings.workers = workers;
    const TrainingParts parts = make_parts();
    RunDirectory directory = RunDirectory::create(folder / std::to_string(workers), "");
    train(parts, settings, directory);
    states.push_back(state_of(parts));
  }
  expect_same(states[0], states[1]);
  expect_same(states[0], states[2]);
}

// Without BatchNorm and dropout, two batches of 4 make the step of one batch of 8; the last step of
// an epoch averages over what is left.
TEST(Train, AccumulatedBatchesMakeOneStep) {
  const TemporaryFolder folder;
  std::vector<std::vector<torch::Tensor>> states;
  for (const int64_t accumulate : {1, 2}) {
    TrainingSettings settings = make_settings();
    settings.batch_size = 8 / accumulate;
    settings.accumulate = accumulate;
    const TrainingParts parts = make_parts(false);
    RunDirectory directory = RunDirectory::create(folder / std::to_string(accumulate), "");
    train(parts, settings, directory);
    states.push_back(state_of(parts));
  }
  for (size_t i = 0; i < states[0].size(); ++i) {
    EXPECT_TRUE(torch::allclose(states[0][i], states[1][i], 1e-3, 1e-5)) << i;
  }
}

/// The run diverges, and the message says so.
void expect_diverged(const TrainingParts& parts, const TrainingSettings& settings,
                     RunDirectory& directory, const std::string& says) {
  try {
    train(parts, settings, directory);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kDiverged);
    EXPECT_NE(std::string(error.what()).find(says), std::string::npos) << error.what();
  }
}

TEST(Train, ALossThatIsNoNumberEndsTheRun) {
  const TemporaryFolder folder;
  TrainingParts parts = make_parts();
  auto poisoned = std::make_shared<ToyData>(50, 1);
  poisoned->poisoned = 7;
  parts.train = poisoned;
  TrainingSettings settings = make_settings();
  settings.drop_last = false;
  RunDirectory directory = RunDirectory::create(folder / "run", "");
  expect_diverged(parts, settings, directory, "epoch 1");
}

// One step an epoch: only validation can notice, and the good checkpoint must stay.
TEST(Train, WeightsThatAreNoNumbersEndTheRunBeforeTheyAreSaved) {
  const TemporaryFolder folder;
  TrainingParts parts = make_parts(false);
  TrainingSettings settings = make_settings();
  settings.batch_size = 50;
  settings.optimizer.lr = 1e38;
  settings.optimizer.weight_decay = 1e38;
  settings.clip_norm = 0;
  RunDirectory directory = RunDirectory::create(folder / "run", "");
  expect_diverged(parts, settings, directory, "the loss on val");
  EXPECT_EQ(directory.load("last", *parts.model.ptr(), nullptr).epoch, 0);
}

TEST(Train, WorksWithoutATestSplitAndWithBf16) {
  const TemporaryFolder folder;
  TrainingParts parts = make_parts();
  parts.test = nullptr;
  parts.method = std::make_shared<Joint>();
  TrainingSettings settings = make_settings();
  settings.bf16 = true;
  RunDirectory directory = RunDirectory::create(folder / "run", "");
  EXPECT_EQ(train(parts, settings, directory).test.samples, 0);
  EXPECT_FALSE(json::parse(read_text(folder / "run/summary.json")).contains("accuracy"));
  for (const torch::Tensor& parameter : parts.model->parameters()) {
    EXPECT_EQ(parameter.scalar_type(), torch::kFloat);
  }
}

TEST(RunDirectory, RefusesToOverwriteARun) {
  const TemporaryFolder folder;
  RunDirectory directory = RunDirectory::create(folder / "run", "a = 1\n");
  EXPECT_NO_THROW(RunDirectory::check_free(folder / "run"));  // nothing is lost yet
  const TrainingParts parts = make_parts();
  const Optimizer optimizer(make_settings().optimizer, parts.model->named_parameters());
  directory.save("last", *parts.model.ptr(), optimizer, {});
  EXPECT_THROW(RunDirectory::create(folder / "run", "a = 1\n"), Error);
  EXPECT_THROW(RunDirectory::open(folder / "other"), StorageError);
  EXPECT_EQ(RunDirectory::open(folder / "run").recipe(), "a = 1\n");
}

TEST(RunDirectory, KnowsTheShapesOfInputs) {
  const TemporaryFolder folder;
  RunDirectory directory = RunDirectory::create(folder / "run", "");
  EXPECT_TRUE(directory.input_shapes().empty());
  const std::map<std::string, std::vector<int64_t>> shapes = {{"audio", {1, 257, 188}},
                                                              {"visual", {4}}};
  directory.write_input_shapes(shapes);
  EXPECT_EQ(directory.input_shapes(), shapes);
  for (const char* damaged : {"", "[1]", "{\"audio\": 1}", "{\"audio\": [\"x\"]}"}) {
    write_text(folder / "run/inputs.json", damaged);
    EXPECT_THROW(directory.input_shapes(), StorageError) << damaged;
  }
}

TEST(RunDirectory, RefusesAFolderWithFilesOfSomebodyElse) {
  const TemporaryFolder folder;
  write_text(folder / "metrics.jsonl", "mine");
  EXPECT_THROW(RunDirectory::create(folder.path(), ""), Error);
  EXPECT_EQ(read_text(folder / "metrics.jsonl"), "mine");
}

TEST(RunDirectory, SurvivesAnEditedRecipeWhileItRuns) {
  const TemporaryFolder folder;
  const TrainingParts parts = make_parts();
  const Optimizer optimizer(make_settings().optimizer, parts.model->named_parameters());
  RunDirectory directory = RunDirectory::create(folder / "run", "a = 1\n");
  directory.save("best", *parts.model.ptr(), optimizer, {.epoch = 1, .method = {}});
  write_text(folder / "run/recipe.toml", "# a comment\na = 1\n");
  directory.save("last", *parts.model.ptr(), optimizer, {.epoch = 2, .method = {}});
  EXPECT_EQ(directory.load("best", *parts.model.ptr(), nullptr).epoch, 1);
  EXPECT_EQ(directory.load("last", *parts.model.ptr(), nullptr).epoch, 2);
}

TEST(RunDirectory, RefusesDamagedCheckpoints) {
  const TemporaryFolder folder;
  const TrainingParts parts = make_parts();
  TrainingSettings settings = make_settings();
  settings.epochs = 1;
  RunDirectory directory = RunDirectory::create(folder / "run", "a = 1\n");
  train(parts, settings, directory);
  const auto load = [&] { return directory.load("last", *parts.model.ptr(), nullptr); };
  EXPECT_NO_THROW(load());
  const auto weights = folder / "run/checkpoints/last/model.safetensors";
  const std::string content = read_text(weights);
  std::string flipped = content;
  flipped[flipped.size() / 2] = static_cast<char>(flipped[flipped.size() / 2] ^ 1);
  for (const std::string& damaged :
       {content.substr(0, content.size() / 2), std::string(), flipped}) {
    write_text(weights, damaged);
    EXPECT_THROW(load(), StorageError);
  }
  write_text(weights, content);
  EXPECT_NO_THROW(load());
  write_text(folder / "run/recipe.toml", "a = 2\n");
  const RunDirectory reopened = RunDirectory::open(folder / "run");
  EXPECT_THROW(reopened.load("last", *parts.model.ptr(), nullptr), StorageError);
}

TEST(RunDirectory, ForgetsMetricsOfEpochsThatRunAgain) {
  const TemporaryFolder folder;
  RunDirectory directory = RunDirectory::create(folder / "run", "");
  for (const int epoch : {1, 2, 3}) {
    directory.append_metrics({{"epoch", epoch}, {"split", "val"}});
  }
  write_text(folder / "run/metrics.jsonl",
             read_text(folder / "run/metrics.jsonl") + "{\"epoch\":4,\"spl");
  directory.forget_metrics_after(2);
  EXPECT_EQ(metrics_of(folder).size(), 2);
}

TEST(Evaluate, ScoresEverySampleFusedAndAlone) {
  const TrainingParts parts = make_parts();
  const TrainingSettings settings = make_settings();
  const Evaluation evaluation = evaluate(*parts.model.ptr(), *parts.task, parts.test, settings);
  EXPECT_EQ(evaluation.samples, 31);
  const torch::NoGradGuard no_grad;
  double loss = 0;
  double loss_audio = 0;
  int hits = 0;
  for (size_t i = 0; i < 31; ++i) {
    const Sample sample = parts.test->get(i, 0, false);
    const ModalityTensors inputs{sample.inputs[0].unsqueeze(0), sample.inputs[1].unsqueeze(0)};
    const torch::Tensor target = sample.target.unsqueeze(0);
    const torch::Tensor fused = parts.model.ptr()->forward(inputs);
    loss += parts.task->loss(fused, target).item<double>() / 31;
    loss_audio += parts.task->loss(parts.model.ptr()->forward({inputs[0], torch::Tensor()}), target)
                      .item<double>() /
                  31;
    hits += fused.argmax(1).item<int64_t>() == sample.target.item<int64_t>() ? 1 : 0;
  }
  EXPECT_NEAR(evaluation.fused.loss, loss, 1e-5);
  EXPECT_NEAR(evaluation.alone[0].loss, loss_audio, 1e-5);
  EXPECT_NEAR(evaluation.fused.selecting(), hits / 31.0, 1e-12);
  const Evaluation absent =
      evaluate(*parts.model.ptr(), *parts.task, parts.test, settings, {false, true});
  EXPECT_NEAR(absent.fused.loss, loss_audio, 1e-5);
  EXPECT_TRUE(absent.alone[1].metrics.empty());
}

}  // namespace
}  // namespace unbraid
