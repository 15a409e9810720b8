#pragma once

#include <string>
#include <vector>

#include "unbraid/models/encoders/encoder.h"

namespace unbraid {

/// A module of a TorchScript file (torch.jit.script or torch.jit.trace, then save) as an encoder
/// that is trained like any other: Tensor → [B, d], [B, T, d] or [B, d, H, W]. Parameters and
/// buffers have the names they have there; one that the file has under two names has the first.
///
/// It runs without the optimisations of TorchScript's executor, which take effect after some
/// batches and may change results, so that a run that was continued is the one that was not.
class TorchScriptEncoder : public Encoder {
 public:
  /// `size` 0: taken from the first output, together with the kind. Throws RecipeError naming the
  /// file when it is missing, no TorchScript, frozen, or its forward does not take one tensor and
  /// return one. Loading a file runs code of it.
  explicit TorchScriptEncoder(const std::string& file, int64_t size = 0,
                              FeatureKind kind = FeatureKind::kVector);

  torch::Tensor forward(const torch::Tensor& input) override;
  [[nodiscard]] int64_t feature_size() const override { return size_; }
  [[nodiscard]] FeatureKind feature_kind() const override { return kind_; }
  void train(bool on = true) override;

  /// The module itself; its tensors are those registered here.
  [[nodiscard]] const torch::jit::Module& script() const { return script_; }

  static EncoderBuilder read(Options& options);
  /// SHA-1 of a file, which a run keeps: its checkpoints hold the weights and not the code.
  [[nodiscard]] static std::string checksum_of(const std::string& file);

 private:
  struct ScriptBuffer {
    torch::jit::Module owner;
    std::string name;
    torch::Tensor tensor;  // as it is registered here
  };

  /// Registers the tensors of `script` in `module`, submodules included.
  void adopt(torch::nn::Module& module, torch::jit::Module script,
             std::vector<torch::Tensor>& known);
  /// Copies buffers that forward() assigned anew, instead of changing them, to those registered.
  void follow_buffers();
  void check_feature(const torch::Tensor& input, const torch::Tensor& feature);

  std::string file_;
  int64_t size_;
  FeatureKind kind_;
  torch::jit::Module script_;
  std::vector<ScriptBuffer> buffers_of_script_;
};

}  // namespace unbraid
