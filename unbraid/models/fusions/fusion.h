#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "unbraid/core/batch.h"
#include "unbraid/core/options.h"

namespace unbraid {

/// Features in, output of the task out. The unimodal view of modality m is the output with every
/// other feature absent, from the same parameters.
class Fusion : public torch::nn::Module {
 public:
  /// `features[m]` is [B, feature size of m], or undefined when modality m is absent; at least one
  /// is defined. Returns [B, outputs].
  virtual torch::Tensor forward(const ModalityTensors& features) = 0;
};

/// What a fusion is built for: the modalities in order, with the size of each one's feature.
struct FusionShape {
  std::vector<std::string> modalities;
  std::vector<int64_t> feature_sizes;
  int64_t outputs = 0;
};

/// Builds a fusion; throws RecipeError when it is not defined for such a shape.
using FusionBuilder = std::function<std::shared_ptr<Fusion>(const FusionShape&)>;

/// Reads `type` and its keys from a recipe's [fusion] table.
FusionBuilder read_fusion(Options& options);

/// Throws RecipeError unless one or two modalities are given, for fusions defined for no more.
void check_at_most_two(const char* type, const FusionShape& shape);

}  // namespace unbraid
