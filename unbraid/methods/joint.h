#pragma once

#include "unbraid/methods/method.h"

namespace unbraid {

/// Vanilla joint training: the multimodal loss trains everything. What the other methods are
/// compared with.
class Joint : public Method {
 public:
  [[nodiscard]] std::string name() const override { return "joint"; }
  [[nodiscard]] GradientRoute route() const override { return GradientRoute::joint(); }

  static std::shared_ptr<Method> read(Options& /*options*/, const MethodContext& /*context*/) {
    return std::make_shared<Joint>();
  }
};

}  // namespace unbraid
