#pragma once

#include "unbraid/methods/method.h"

namespace unbraid {

/// Any fixed route, its four weights given in the recipe: `multimodal_to_encoder`,
/// `multimodal_to_fusion`, `unimodal_to_encoder`, `unimodal_to_fusion`. All but
/// `multimodal_to_fusion` are a number, or a list with one for each modality.
class Route : public Method {
 public:
  explicit Route(GradientRoute route) : route_(std::move(route)) {}
  [[nodiscard]] std::string name() const override { return "route"; }
  [[nodiscard]] GradientRoute route() const override { return route_; }

  static std::shared_ptr<Method> read(Options& options, const MethodContext& context);

 private:
  GradientRoute route_;
};

}  // namespace unbraid
