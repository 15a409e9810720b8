#pragma once

#include "unbraid/methods/method.h"

namespace unbraid {

/// MMCosine (Xu, Feng, Huang & Zhang, "MMCosine: Multi-Modal Cosine Loss Towards Balanced
/// Audio-Visual Fine-Grained Learning", ICASSP 2023): joint training of the fusion "cosine" in the
/// place of a concatenation, so that neither the length of a feature nor that of its class weights
/// lets one modality drown the others. `scale` (15) is BalanceMM's; nothing else of the authors'
/// code was read. BalanceMM stops after epoch 80 to normalise what it trains, but not what it
/// evaluates; here both are normalised throughout.
class MmCosine : public Method {
 public:
  explicit MmCosine(double scale) : scale_(scale) {}

  [[nodiscard]] std::string name() const override { return "mmcosine"; }
  [[nodiscard]] GradientRoute route() const override { return GradientRoute::joint(); }
  [[nodiscard]] FusionBuilder fusion(const std::string& type, FusionBuilder fusion) const override;

  static std::shared_ptr<Method> read(Options& options, const MethodContext& context);

 private:
  double scale_;
};

}  // namespace unbraid
