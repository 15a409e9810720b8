#pragma once

#include <functional>
#include <memory>
#include <string>

#include "unbraid/core/options.h"
#include "unbraid/core/torch.h"

namespace unbraid {

/// The shape of a feature of size d: [B, d], a sequence [B, T, d], or maps [B, d, H, W].
enum class FeatureKind { kVector, kTokens, kMap };
/// "vector", "tokens" or "maps".
const char* name_of(FeatureKind kind);

/// Turns the inputs of one modality into features.
class Encoder : public torch::nn::Module {
 public:
  /// [B, …] → a feature of the kind and size below.
  virtual torch::Tensor forward(const torch::Tensor& input) = 0;
  [[nodiscard]] virtual int64_t feature_size() const = 0;
  [[nodiscard]] virtual FeatureKind feature_kind() const { return FeatureKind::kVector; }
  /// For export: `def forward(self, x: Tensor) -> Tensor` as TorchScript, on the parameters' names
  /// here (models/script_source.h helps); "": it has no such form.
  [[nodiscard]] virtual std::string torchscript() const { return ""; }
};

using EncoderBuilder = std::function<std::shared_ptr<Encoder>()>;

/// Reads `type` and its keys from a recipe's `encoder` table.
EncoderBuilder read_encoder(Options& options);

/// Runs `encode` on images [B, C, H, W], or on clips of N frames [B, N, C, H, W] frame by frame,
/// averaging the features of a clip, be they vectors, tokens or maps.
torch::Tensor encode_frames(const torch::Tensor& input,
                            const std::function<torch::Tensor(const torch::Tensor&)>& encode);

}  // namespace unbraid
