#pragma once

#include <mutex>
#include <utility>
#include <vector>

#include "unbraid/core/torch.h"
#include "unbraid/routing/passes.h"

namespace unbraid {

/// While it lives, `model` is in evaluation mode. When it dies, the modes of the model and of every
/// part of it, its buffers and the generators of random numbers are what they were.
class Untouched {
 public:
  explicit Untouched(torch::nn::Module& model, torch::Device device)
      : model_(model), was_training_(model.is_training()), buffers_(model) {
    for (const auto& part : model.modules(false)) {
      modes_.emplace_back(part, part->is_training());
    }
    keep(at::globalContext().defaultGenerator(torch::kCPU));
    if (!device.is_cpu()) {
      keep(at::globalContext().defaultGenerator(device));
    }
    model.eval();
  }
  ~Untouched() {
    model_.train(was_training_);
    for (const auto& [part, training] : modes_) {  // parents first: train() includes the children
      part->train(training);
    }
    for (auto& [generator, state] : generators_) {
      const std::lock_guard<std::mutex> lock(generator.mutex());
      generator.set_state(state);
    }
  }
  Untouched(const Untouched&) = delete;
  Untouched& operator=(const Untouched&) = delete;

 private:
  void keep(at::Generator generator) {
    const std::lock_guard<std::mutex> lock(generator.mutex());
    generators_.emplace_back(generator, generator.get_state());
  }

  torch::nn::Module& model_;
  bool was_training_;
  KeptBuffers buffers_;
  std::vector<std::pair<std::shared_ptr<torch::nn::Module>, bool>> modes_;
  std::vector<std::pair<at::Generator, torch::Tensor>> generators_;
};

}  // namespace unbraid
