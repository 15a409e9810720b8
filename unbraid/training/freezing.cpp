#include "unbraid/training/freezing.h"

#include <algorithm>

#include <fmt/format.h>

#include "unbraid/core/error.h"
#include "unbraid/training/parameter_patterns.h"

namespace unbraid {

void freeze(torch::nn::Module& module, const std::vector<std::string>& patterns,
            const std::string& key) {
  auto parameters = module.named_parameters();
  const std::vector<size_t> places = match_patterns(patterns, parameters.keys(), key);
  if (!patterns.empty() &&
      std::find(places.begin(), places.end(), patterns.size()) == places.end()) {
    throw RecipeError(fmt::format(
        "{}: expected parameters that are left to train, these patterns match all", key));
  }
  for (size_t i = 0; i < places.size(); ++i) {
    if (places[i] < patterns.size()) {
      parameters[i].value().set_requires_grad(false);
    }
  }
}

void train_unfrozen(torch::nn::Module& module) {
  module.train();
  for (const auto& part : module.modules(false)) {
    const std::vector<torch::Tensor> parameters = part->parameters();
    const bool frozen = !parameters.empty() && std::none_of(parameters.begin(), parameters.end(),
                                                            [](const torch::Tensor& parameter) {
                                                              return parameter.requires_grad();
                                                            });
    if (frozen) {
      part->eval();
    }
  }
}

}  // namespace unbraid
