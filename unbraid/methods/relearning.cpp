#include "unbraid/methods/relearning.h"

#include <cmath>

#include <fmt/format.h>

#include "unbraid/core/random.h"
#include "unbraid/methods/k_means.h"
#include "unbraid/methods/modality_scores.h"

namespace unbraid {
namespace {

/// Every column from 0 to 1; of equal values: 0.
torch::Tensor scaled(const torch::Tensor& points) {
  const torch::Tensor low = points.amin(0);
  const torch::Tensor range = points.amax(0) - low;
  return (points - low) / torch::where(range > 0, range, torch::ones_like(range));
}

std::string prefix_of(const MultimodalModelImpl& model, size_t modality) {
  return "encoders." + model.name(modality) + ".";
}

}  // namespace

void Relearning::begin_epoch(const EpochStart& start) {
  choices_.clear();
  MultimodalModelImpl& model = start.model;
  if (start.epoch == 1) {
    initial_.clear();
    for (size_t m = 0; m < model.size(); ++m) {
      for (const auto& parameter : model.encoder(m).named_parameters()) {
        if (parameter.value().requires_grad()) {
          initial_.emplace_back(prefix_of(model, m) + parameter.key(),
                                parameter.value().detach().clone());
        }
      }
    }
  }
  const int64_t done = start.epoch - 1;
  if (done == 0 || done % options_.every != 0 || done / options_.every > options_.times) {
    return;
  }
  if (initial_.empty()) {
    throw StorageError(
        "[relearning] expected a checkpoint with the weights at the start, got one without");
  }
  const auto train = purities(start, false);
  const auto val = purities(start, true);
  for (size_t m = 0; m < model.size(); ++m) {
    const double gap = std::isnan(train[m] + val[m]) ? 0.0 : std::abs(train[m] - val[m]);
    go_back(model.encoder(m), prefix_of(model, m), weight(gap));
    choices_["gap." + model.name(m)] = gap;
    choices_["back." + model.name(m)] = weight(gap);
  }
  if (done / options_.every == options_.times) {
    initial_.clear();
  }
}

double Relearning::weight(double gap) const { return std::tanh(options_.strength * gap); }

std::vector<double> Relearning::purities(const EpochStart& start, bool of_val) const {
  const size_t modalities = start.model.size();
  std::vector<std::vector<torch::Tensor>> points(modalities);
  std::vector<std::vector<torch::Tensor>> labels(modalities);
  start.for_each_encoded(
      {.of_val = of_val}, [&](const Batch& batch, const ModalityTensors& features) {
        for (size_t m = 0; m < modalities; ++m) {
          if (features[m].defined()) {
            points[m].push_back(pooled(features[m]).to(torch::kCPU, torch::kFloat));
            labels[m].push_back(batch.presence.pack(batch.target, m).to(torch::kCPU));
          }
        }
      });
  std::vector<double> purities(modalities, std::nan(""));
  for (size_t m = 0; m < modalities; ++m) {
    if (!points[m].empty()) {
      const auto epoch = static_cast<uint64_t>(start.epoch);
      const torch::Tensor cluster =
          k_means(scaled(torch::cat(points[m])), options_.classes,
                  RandomStream::of(start.seed, epoch, start.model.name(m), "k-means"));
      purities[m] = purity(cluster, torch::cat(labels[m]));
    }
  }
  return purities;
}

void Relearning::go_back(torch::nn::Module& encoder, const std::string& prefix,
                         double weight) const {
  const torch::NoGradGuard no_grad;
  auto parameters = encoder.named_parameters();
  for (const auto& [name, initial] : initial_) {
    if (name.starts_with(prefix)) {
      torch::Tensor& parameter = parameters[name.substr(prefix.size())];
      parameter.lerp_(initial.to(parameter.options()), weight);
    }
  }
}

std::shared_ptr<Method> Relearning::read(Options& options, const MethodContext& context) {
  expect_classification(options, context);
  RelearningOptions read;
  read.classes = context.task->outputs();
  read.every = options.integer("every", read.every, {.min = 1, .max = 1000000});
  read.times = options.integer("times", read.times, {.min = 0, .max = 1000000});
  read.strength = options.number("strength", read.strength, {.min = 0.0});
  read.base = read_base(options);
  return std::make_shared<Relearning>(read);
}

}  // namespace unbraid
