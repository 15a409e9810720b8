#include "unbraid/methods/umt.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "unbraid/core/autocast.h"
#include "unbraid/methods/modality_scores.h"

namespace unbraid {
namespace {

/// Parameters and buffers, by name.
NamedTensors tensors_of(const torch::nn::Module& module) {
  NamedTensors tensors;
  for (const auto& entry : module.named_parameters()) {
    tensors.emplace_back(entry.key(), entry.value());
  }
  for (const auto& entry : module.named_buffers()) {
    tensors.emplace_back(entry.key(), entry.value());
  }
  return tensors;
}

/// While it lives, `module` has other weights and is in eval mode.
class Taught {
 public:
  Taught(torch::nn::Module& module, const std::vector<torch::Tensor>& weights)
      : tensors_(tensors_of(module)), modules_(module.modules()) {
    for (size_t i = 0; i < tensors_.size(); ++i) {
      own_.push_back(tensors_[i].second.variable_data());
      tensors_[i].second.set_data(weights[i]);
    }
    for (const auto& part : modules_) {
      training_.push_back(part->is_training());
    }
    module.eval();
    clear_autocast_cache();
  }
  ~Taught() {
    for (size_t i = 0; i < tensors_.size(); ++i) {
      tensors_[i].second.set_data(own_[i]);
    }
    for (size_t i = 0; i < modules_.size(); ++i) {  // parents before their children
      modules_[i]->train(training_[i]);
    }
    clear_autocast_cache();
  }
  Taught(const Taught&) = delete;
  Taught& operator=(const Taught&) = delete;

 private:
  NamedTensors tensors_;
  std::vector<torch::Tensor> own_;
  std::vector<std::shared_ptr<torch::nn::Module>> modules_;
  std::vector<bool> training_;
};

std::vector<torch::Tensor> read_teacher(const std::string& given, const std::string& modality,
                                        const torch::nn::Module& encoder) {
  std::filesystem::path path(given);
  if (std::filesystem::is_directory(path)) {
    path = path / "checkpoints" / "best" / "model.safetensors";
  }
  const NamedTensors file = read_safetensors(path.string()).tensors;
  std::vector<torch::Tensor> weights;
  for (const auto& [name, tensor] : tensors_of(encoder)) {
    const std::string wanted = fmt::format("encoders.{}.{}", modality, name);
    const auto entry = std::find_if(file.begin(), file.end(),
                                    [&](const auto& one) { return one.first == wanted; });
    if (entry == file.end()) {
      throw StorageError(
          fmt::format("{}: expected a tensor {}, which is missing: a teacher has "
                      "the encoder of the modality that it teaches",
                      path.string(), wanted));
    }
    if (entry->second.sizes() != tensor.sizes()) {
      throw StorageError(fmt::format("{}: {}: expected the shape [{}], got [{}]", path.string(),
                                     wanted, fmt::join(tensor.sizes(), ", "),
                                     fmt::join(entry->second.sizes(), ", ")));
    }
    weights.push_back(torch::empty_like(tensor.detach()).copy_(entry->second));
  }
  return weights;
}

bool is_trained(const torch::nn::Module& encoder) {
  const auto parameters = encoder.parameters();
  return std::any_of(parameters.begin(), parameters.end(),
                     [](const torch::Tensor& one) { return one.requires_grad(); });
}

}  // namespace

void Umt::begin_epoch(const EpochStart& start) {
  if (!weights_.empty()) {
    return;
  }
  const torch::NoGradGuard no_grad;
  std::vector<std::vector<torch::Tensor>> weights(start.model.size());
  for (size_t m = 0; m < weights.size(); ++m) {
    if (!options_.teachers.at(m).empty()) {
      weights[m] = read_teacher(options_.teachers[m], start.model.name(m), start.model.encoder(m));
    }
  }
  weights_ = std::move(weights);
}

RoutedResult Umt::backward(const TrainingStep& step) {
  choices_.clear();
  ModalityTensors taught(step.model.size());
  for (size_t m = 0; m < weights_.size(); ++m) {
    if (!weights_[m].empty() && step.batch.inputs[m].defined()) {
      const torch::NoGradGuard no_grad;
      const Taught teacher(step.model.encoder(m), weights_[m]);
      taught[m] = step.model.encode(m, step.batch.inputs[m]);
    }
  }
  return routed_backward(
      step, options_.base,
      [&](const ModalityTensors& features, const RoutedResult& /*result*/,
          const FeatureGradients& gradients) {
        ModalityTensors arrived(features.size());
        for (size_t m = 0; m < features.size(); ++m) {
          arrived[m] = gradients.sum(m);
          if (!taught[m].defined()) {
            continue;
          }
          const torch::Tensor difference = at_least_float(features[m] - taught[m]);
          choices_["distance." + step.model.name(m)] = difference.square().mean().item<double>();
          if (is_trained(step.model.encoder(m))) {
            const double weight =
                step.scale * options_.scaling * 2 / static_cast<double>(difference.numel());
            const torch::Tensor pull = (difference * weight).to(features[m].scalar_type());
            arrived[m] = arrived[m].defined() ? arrived[m] + pull : pull;
          }
        }
        return arrived;
      });
}

std::shared_ptr<Method> Umt::read(Options& options, const MethodContext& context) {
  UmtOptions read;
  Options teachers = options.table("teachers");
  for (const std::string& modality : context.modalities) {
    read.teachers.push_back(teachers.has(modality) ? teachers.path(modality) : "");
  }
  teachers.finish();
  if (std::all_of(read.teachers.begin(), read.teachers.end(),
                  [](const std::string& path) { return path.empty(); })) {
    throw options.error("teachers",
                        fmt::format("expected the run or the safetensors file of a teacher for one "
                                    "or more of {}, as in {{ {} = \"runs/teacher\" }}, got none",
                                    fmt::join(context.modalities, ", "), context.modalities.at(0)));
  }
  read.scaling = options.number("scaling", read.scaling, {.min = 0.0});
  read.base = read_base(options);
  return std::make_shared<Umt>(std::move(read));
}

}  // namespace unbraid
