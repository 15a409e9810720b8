#include "unbraid/training/trial.h"

#include <csignal>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "temporary_folder.h"
#include "unbraid/core/stop.h"
#include "unbraid/data/tensor_data_set.h"
#include "unbraid/methods/g_blending.h"
#include "unbraid/methods/joint.h"
#include "unbraid/models/fusions/sum.h"
#include "unbraid/models/initialisation.h"
#include "unbraid/tasks/classification.h"
#include "unbraid/training/weights.h"

namespace unbraid {
namespace {

using nlohmann::json;
using unbraid::testing::read_text;
using unbraid::testing::TemporaryFolder;

torch::nn::Sequential encoder() {
  return torch::nn::Sequential(torch::nn::Linear(3, 4), torch::nn::BatchNorm1d(4),
                               torch::nn::Dropout(0.2));
}

std::shared_ptr<const DataSet> data(int64_t size, uint64_t seed) {
  torch::manual_seed(seed);
  const torch::Tensor target = torch::arange(size) % 3;
  const torch::Tensor signal = torch::one_hot(target, 3).to(torch::kFloat);
  return std::make_shared<TensorDataSet>(
      std::vector<torch::Tensor>{signal + torch::randn({size, 3}),
                                 signal + 0.5 * torch::randn({size, 3})},
      target);
}

TrainingParts parts_with(std::shared_ptr<Method> method) {
  TrainingParts parts;
  parts.model = MultimodalModel();
  parts.model->add_encoder("audio", encoder());
  parts.model->add_encoder("visual", encoder());
  parts.model->set_fusion(
      std::make_shared<SumFusion>(FusionShape{{"audio", "visual"}, {4, 4}, 3, {}, {}}));
  initialise(*parts.model, 5);
  parts.task = std::make_shared<Classification>(ClassificationOptions{.classes = 3});
  parts.method = std::move(method);
  parts.train = data(40, 1);
  parts.val = data(24, 2);
  return parts;
}

TrainingSettings make_settings() {
  TrainingSettings settings;
  settings.batch_size = 8;
  settings.workers = 1;
  settings.accumulate = 2;
  settings.optimizer = {.type = "sgd", .lr = 0.1};
  settings.schedule.type = "cosine";
  settings.epochs = 5;
  settings.clip_norm = 1;
  return settings;
}

std::vector<torch::Tensor> state_of(const TrainingParts& parts) {
  std::vector<torch::Tensor> state;
  for (const auto& [name, weight] : weights_of(*parts.model)) {
    state.push_back(weight.detach().clone());
  }
  return state;
}

void expect_same(const std::vector<torch::Tensor>& left, const std::vector<torch::Tensor>& right) {
  ASSERT_EQ(left.size(), right.size());
  for (size_t i = 0; i < left.size(); ++i) {
    EXPECT_TRUE(torch::equal(left[i], right[i])) << i;
  }
}

Trial joint_trial(int64_t epochs, const std::function<void()>& look) {
  return {.epochs = epochs,
          .backward = [](const TrainingStep& step) { return Joint().backward(step); },
          .look = look};
}

TEST(Trial, TrainsAsTheRunWouldAndTakesItBack) {
  const TemporaryFolder folder;
  const TrainingSettings settings = make_settings();
  const TrainingParts parts = parts_with(std::make_shared<Joint>());
  const auto before = state_of(parts);
  std::vector<torch::Tensor> trained;
  parts.model.ptr()->eval();  // as after looking at features
  run_trial(parts, settings, {}, joint_trial(5, [&] { trained = state_of(parts); }));
  expect_same(state_of(parts), before);
  for (const torch::Tensor& parameter : parts.model->parameters()) {
    EXPECT_FALSE(parameter.grad().defined());
  }

  RunDirectory directory = RunDirectory::create(folder / "run");
  train(parts, settings, directory);
  directory.load("last", *parts.model.ptr(), nullptr);
  expect_same(state_of(parts), trained);
}

TEST(Trial, IsSeenGoingBy) {
  class Seen : public TrainingObserver {
   public:
    void on_trial(int64_t epoch, int64_t batch, int64_t batches) override {
      seen.push_back(epoch * 10000 + batch * 100 + batches);
    }
    std::vector<int64_t> seen;
  } observer;
  const TrainingParts parts = parts_with(std::make_shared<Joint>());
  const RunState after_one{.epoch = 1, .step = 3, .method = {}};
  run_trial(parts, make_settings(), after_one, joint_trial(2, [] {}), &observer);
  EXPECT_EQ(observer.seen, (std::vector<int64_t>{20110, 20210, 20310, 20410, 20510, 20610, 20710,
                                                 20810, 20910, 21010}));
}

TEST(Trial, StartsWhereTheRunIs) {
  TrainingSettings settings = make_settings();
  settings.optimizer.momentum = 0;  // the trial's optimizer is a new one
  const TrainingParts parts = parts_with(std::make_shared<Joint>());
  std::vector<torch::Tensor> at_once;
  run_trial(parts, settings, {}, joint_trial(3, [&] { at_once = state_of(parts); }));
  std::vector<torch::Tensor> in_two;
  run_trial(parts, settings, {}, joint_trial(1, [&] {
              const RunState after_one{.epoch = 1, .step = 3, .method = {}};
              run_trial(parts, settings, after_one,
                        joint_trial(2, [&] { in_two = state_of(parts); }));
            }));
  expect_same(at_once, in_two);
}

TEST(Trial, EndsWhereItDiverges) {
  TrainingSettings settings = make_settings();
  settings.optimizer.lr = 1e38;
  settings.clip_norm = 0;
  const TrainingParts parts = parts_with(std::make_shared<Joint>());
  const auto before = state_of(parts);
  try {
    run_trial(parts, settings, {}, joint_trial(5, [] {}));
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kDiverged);
    EXPECT_NE(std::string(error.what()).find("a trial of the method joint before epoch 1"),
              std::string::npos)
        << error.what();
  }
  expect_same(state_of(parts), before);
}

std::vector<json> train_lines(const std::filesystem::path& run) {
  std::vector<json> lines;
  std::istringstream text(read_text(run / "metrics.jsonl"));
  for (std::string line; std::getline(text, line);) {
    if (json record = json::parse(line); record["split"] == "train") {
      lines.push_back(std::move(record));
    }
  }
  return lines;
}

class StopAt : public TrainingObserver {
 public:
  explicit StopAt(int64_t epoch) : epoch_(epoch) {}
  void on_batch(int64_t epoch, size_t /*batch*/, size_t /*batches*/, double /*loss*/) override {
    request_stop(epoch == epoch_ ? SIGTERM : 0);
  }

 private:
  int64_t epoch_;
};

TEST(Trial, GBlendingContinuesBitForBit) {
  const TemporaryFolder folder;
  const auto blending = [] {
    return parts_with(std::make_shared<GBlending>(2, std::vector<std::string>{"audio", "visual"}));
  };
  const TrainingParts whole = blending();
  RunDirectory whole_directory = RunDirectory::create(folder / "whole");
  train(whole, make_settings(), whole_directory);
  const auto expected = train_lines(folder / "whole");
  ASSERT_EQ(expected.size(), 5);
  for (size_t i = 0; i < expected.size(); ++i) {
    const json& chosen = expected[i]["method"];
    EXPECT_NEAR(chosen["weight.audio"].get<double>() + chosen["weight.visual"].get<double>() +
                    chosen["weight.fused"].get<double>(),
                1.0, 1e-12);
    EXPECT_EQ(chosen.contains("gain.fused"), i % 2 == 0) << i;  // in the last for one epoch
    EXPECT_EQ(chosen["weight.audio"] == expected[i - i % 2]["method"]["weight.audio"], true);
  }
  EXPECT_NE(expected[0]["method"]["weight.audio"], expected[2]["method"]["weight.audio"]);

  for (const int64_t epoch : {3, 4}) {  // at the start of two epochs, and within them
    SCOPED_TRACE(epoch);
    const auto run = folder / std::to_string(epoch);
    RunDirectory directory = RunDirectory::create(run);
    StopAt stop(epoch);
    EXPECT_THROW(train(blending(), make_settings(), directory, false, &stop), Error);
    request_stop(0);
    const TrainingParts continued = blending();
    torch::manual_seed(77);
    RunDirectory reopened = RunDirectory::open(run);
    train(continued, make_settings(), reopened, true);
    const auto found = train_lines(run);
    ASSERT_EQ(found.size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_EQ(found[i]["method"], expected[i]["method"]) << i;
      EXPECT_EQ(found[i]["loss"], expected[i]["loss"]) << i;
    }
    reopened.load("last", *continued.model.ptr(), nullptr);
    whole_directory.load("last", *whole.model.ptr(), nullptr);
    expect_same(state_of(continued), state_of(whole));
  }
}

}  // namespace
}  // namespace unbraid
