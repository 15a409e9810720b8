#pragma once

#include "unbraid/methods/method.h"

namespace unbraid {

/// One modality trained alone, `modality` by name: its encoder and the fusion's own view of it.
/// What the modalities inside a fused model are compared with.
class Unimodal : public Method {
 public:
  explicit Unimodal(std::string modality) : modality_(std::move(modality)) {}
  [[nodiscard]] std::string name() const override { return "unimodal"; }
  [[nodiscard]] GradientRoute route() const override { return GradientRoute::joint(); }
  [[nodiscard]] std::vector<std::string> modalities(
      const std::vector<std::string>& /*all*/) const override {
    return {modality_};
  }

  static std::shared_ptr<Method> read(Options& options, const MethodContext& context) {
    return std::make_shared<Unimodal>(options.choice("modality", context.modalities));
  }

 private:
  std::string modality_;
};

}  // namespace unbraid
