#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "unbraid/core/batch.h"
#include "unbraid/core/options.h"
#include "unbraid/models/encoders/encoder.h"

namespace unbraid {

/// Features in, output of the task out. The unimodal view of modality m is the output with every
/// other feature absent, from the same parameters.
class Fusion : public torch::nn::Module {
 public:
  /// `features[m]` is a feature of B samples, or undefined when modality m is absent; at least one
  /// is defined. Where `presence` says that a sample lacks modality m, its row of `features[m]` is
  /// zero, and its row of the output is what it would be for this sample with m undefined. Returns
  /// [B, outputs], or maps [B, outputs, H, W].
  torch::Tensor forward(const ModalityTensors& features, const Presence& presence = Presence());
  /// For export: `def forward(self, z0: Optional[Tensor], z1: Optional[Tensor], …) -> Tensor` as
  /// TorchScript, an absent feature being None, at least one is not; "": it has no such form.
  [[nodiscard]] virtual std::string torchscript() const { return ""; }

 protected:
  virtual torch::Tensor fuse(const ModalityTensors& features, const Presence& presence) = 0;
};

/// What a fusion is built for: the modalities in order, with the size of each one's feature.
struct FusionShape {
  std::vector<std::string> modalities;
  std::vector<int64_t> feature_sizes;
  int64_t outputs = 0;
  std::vector<FeatureKind> feature_kinds = {};  // empty: vectors
  std::vector<int64_t> map = {};  // height and width of the output [B, outputs, …]; empty: neither
};

/// Builds a fusion; throws RecipeError when it is not defined for such a shape.
using FusionBuilder = std::function<std::shared_ptr<Fusion>(const FusionShape&)>;

/// Reads `type` and its keys from a recipe's [fusion] table.
FusionBuilder read_fusion(Options& options);

/// Throws RecipeError unless the task wants outputs of the kind that the fusion gives: kVector, one
/// for each sample, or kMap, one for each pixel.
void check_output(const char* type, const FusionShape& shape, FeatureKind kind);

/// Throws RecipeError unless every feature is of the kind `kind`, and what check_output says of
/// `output`.
void check_feature_kinds(const char* type, const FusionShape& shape, FeatureKind kind,
                         FeatureKind output = FeatureKind::kVector);

/// Throws RecipeError when a modality has one of the names that the fusion's own parts need.
void check_names(const char* type, const FusionShape& shape, const std::vector<std::string>& taken);

/// Throws RecipeError unless one or two modalities are given, for fusions defined for no more.
void check_at_most_two(const char* type, const FusionShape& shape);

/// For such fusions: the first and the last modality's values [B, d], each standing in for the
/// other one in samples where that is absent. At least one is defined.
std::pair<torch::Tensor, torch::Tensor> stand_in(const torch::Tensor& first,
                                                 const torch::Tensor& last,
                                                 const Presence& presence);

}  // namespace unbraid
