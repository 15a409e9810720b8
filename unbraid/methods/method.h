#pragma once

#include <memory>
#include <string>
#include <vector>

#include "unbraid/core/options.h"
#include "unbraid/routing/gradient_route.h"

namespace unbraid {

/// A way to train: a rule that yields the route of the next step.
class Method {
 public:
  virtual ~Method() = default;

  /// As recipes name it.
  [[nodiscard]] virtual std::string name() const = 0;
  [[nodiscard]] virtual GradientRoute route() const = 0;
  /// Which of the recipe's modalities the model is built with.
  [[nodiscard]] virtual std::vector<std::string> modalities(
      const std::vector<std::string>& all) const {
    return all;
  }
};

/// Reads `type` and its keys from a recipe's [method] table. `modalities` are the recipe's.
std::shared_ptr<Method> read_method(Options& options, const std::vector<std::string>& modalities);

}  // namespace unbraid
