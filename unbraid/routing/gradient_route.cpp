#include "unbraid/routing/gradient_route.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace unbraid {
namespace {

void check_weight(const char* name, double weight) {
  if (!std::isfinite(weight) || weight < 0) {
    throw std::invalid_argument(
        fmt::format("[route] {}: expected a finite weight of at least 0, got {}", name, weight));
  }
}

void check_weights(const char* name, const ModalityWeights& weights, size_t modalities) {
  if (!weights.fits(modalities)) {
    throw std::invalid_argument(
        fmt::format("[route] {}: expected one weight or one for each of {} modalities, got {}",
                    name, modalities, weights.values().size()));
  }
  for (const double weight : weights.values()) {
    check_weight(name, weight);
  }
}

std::string in_words(const ModalityWeights& weights) {
  return fmt::format("{}", fmt::join(weights.values(), ", "));
}

std::string in_words(double weight) { return fmt::format("{}", weight); }

}  // namespace

bool ModalityWeights::any() const {
  return std::any_of(values_.begin(), values_.end(), [](double weight) { return weight != 0; });
}

GradientRoute GradientRoute::joint() { return {}; }

GradientRoute GradientRoute::auxiliary(double alpha) {
  return {.unimodal_to_encoder = alpha, .unimodal_to_fusion = alpha};
}

GradientRoute GradientRoute::dgl(double alpha) {
  return {.multimodal_to_encoder = 0.0, .unimodal_to_encoder = alpha};
}

GradientRoute GradientRoute::unimodal() {
  return {.multimodal_to_encoder = 0.0,
          .multimodal_to_fusion = 0.0,
          .unimodal_to_encoder = 1.0,
          .unimodal_to_fusion = 1.0};
}

bool GradientRoute::has_multimodal_loss() const {
  return multimodal_to_encoder.any() || multimodal_to_fusion != 0;
}

bool GradientRoute::has_unimodal_loss(size_t modality) const {
  return unimodal_to_encoder[modality] != 0 || unimodal_to_fusion[modality] != 0;
}

bool GradientRoute::reaches_encoder(size_t modality) const {
  return multimodal_to_encoder[modality] != 0 || unimodal_to_encoder[modality] != 0;
}

bool GradientRoute::reaches_fusion() const {
  return multimodal_to_fusion != 0 || unimodal_to_fusion.any();
}

void GradientRoute::check(size_t modalities) const {
  check_weights("multimodal_to_encoder", multimodal_to_encoder, modalities);
  check_weight("multimodal_to_fusion", multimodal_to_fusion);
  check_weights("unimodal_to_encoder", unimodal_to_encoder, modalities);
  check_weights("unimodal_to_fusion", unimodal_to_fusion, modalities);
  if (!has_multimodal_loss() && !unimodal_to_encoder.any() && !unimodal_to_fusion.any()) {
    throw std::invalid_argument("[route] expected at least one positive weight, got none");
  }
}

std::string GradientRoute::table() const {
  const std::string multimodal = in_words(multimodal_to_encoder);
  const std::string unimodal = in_words(unimodal_to_encoder);
  const size_t width = std::max({multimodal.size(), unimodal.size(), size_t{10}});
  return fmt::format(
      "{:<18}{:<{}}  fusion module\n"
      "{:<18}{:<{}}  {}\n"
      "{:<18}{:<{}}  {}\n",
      "loss", "encoder m", width, "multimodal", multimodal, width, in_words(multimodal_to_fusion),
      "unimodal of m", unimodal, width, in_words(unimodal_to_fusion));
}

std::ostream& operator<<(std::ostream& stream, const GradientRoute& route) {
  return stream << route.table();
}

}  // namespace unbraid
