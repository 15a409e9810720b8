#include "unbraid/methods/route.h"

#include <stdexcept>

#include <fmt/format.h>

namespace unbraid {
namespace {

ModalityWeights read_weights(Options& options, const std::string& key, size_t modalities) {
  if (!options.is_list(key)) {
    return options.number(key, std::nullopt, {.min = 0.0});
  }
  const auto weights = options.numbers(key, std::nullopt, {.min = 0.0});
  if (weights.size() != modalities) {
    throw options.error(key, fmt::format("expected a number or {} of them, one for each modality, "
                                         "got {}",
                                         modalities, weights.size()));
  }
  return weights;
}

}  // namespace

std::shared_ptr<Method> Route::read(Options& options, const MethodContext& context) {
  const size_t count = context.modalities.size();
  const GradientRoute route{
      .multimodal_to_encoder = read_weights(options, "multimodal_to_encoder", count),
      .multimodal_to_fusion = options.number("multimodal_to_fusion", std::nullopt, {.min = 0.0}),
      .unimodal_to_encoder = read_weights(options, "unimodal_to_encoder", count),
      .unimodal_to_fusion = read_weights(options, "unimodal_to_fusion", count),
  };
  try {
    route.check(count);
  } catch (const std::invalid_argument& problem) {
    throw options.error("type", problem.what());
  }
  return std::make_shared<Route>(route);
}

}  // namespace unbraid
