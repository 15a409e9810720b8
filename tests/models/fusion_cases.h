#pragma once

#include <memory>
#include <string>
#include <vector>

#include "routing/routing_fixtures.h"
#include "unbraid/models/fusions/central.h"
#include "unbraid/models/fusions/cosine.h"
#include "unbraid/models/fusions/low_rank.h"
#include "unbraid/models/fusions/mmtm.h"
#include "unbraid/models/fusions/shared_head.h"
#include "unbraid/models/fusions/transformer.h"

namespace unbraid::testing {

/// A fusion by its name in recipes, for so many modalities.
struct FusionCase {
  std::string type;
  size_t modalities;
};

inline std::vector<FusionCase> fusion_cases() {
  std::vector<FusionCase> cases{{"film", 1}, {"film", 2}, {"gated", 1}, {"gated", 2}};
  for (const char* type :
       {"concat", "sum", "low-rank", "central", "mmtm", "transformer", "cosine", "shared-head"}) {
    for (const size_t modalities : {1, 2, 3, 6}) {
      cases.push_back({type, modalities});
    }
  }
  return cases;
}

inline FusionShape shape_of_case(const FusionCase& one) {
  const std::vector<std::string> names{"audio", "image", "text", "depth", "flow", "touch"};
  const bool maps = one.type == "mmtm";
  FusionShape shape{
      {names.begin(), names.begin() + static_cast<std::ptrdiff_t>(one.modalities)},
      std::vector<int64_t>(one.modalities, kFeature),
      kClasses,
      std::vector<FeatureKind>(one.modalities, maps ? FeatureKind::kMap : FeatureKind::kVector)};
  if (one.type == "transformer" && one.modalities > 1) {
    shape.feature_kinds[0] = FeatureKind::kTokens;
    shape.feature_kinds.back() = FeatureKind::kMap;
  }
  return shape;
}

/// With random parameters and running statistics, in double precision.
inline std::shared_ptr<Fusion> make_fusion_of(const FusionCase& one, const FusionShape& shape) {
  std::shared_ptr<Fusion> fusion;
  if (one.type == "concat") {
    fusion = std::make_shared<ConcatFusion>(shape);
  } else if (one.type == "sum") {
    fusion = std::make_shared<SumFusion>(shape);
  } else if (one.type == "film") {
    fusion = std::make_shared<FilmFusion>(shape);
  } else if (one.type == "gated") {
    fusion = std::make_shared<GatedFusion>(shape);
  } else if (one.type == "low-rank") {
    fusion = std::make_shared<LowRankFusion>(shape, 2);
  } else if (one.type == "central") {
    fusion = std::make_shared<CentralFusion>(shape, CentralFusionOptions{.width = 5, .depth = 2});
  } else if (one.type == "mmtm") {
    fusion = std::make_shared<MmtmFusion>(shape,
                                          MmtmFusionOptions{.stages = 2, .blocks = 1, .ratio = 2});
  } else if (one.type == "cosine") {
    fusion = std::make_shared<CosineFusion>(shape);
  } else if (one.type == "shared-head") {
    fusion = std::make_shared<SharedHeadFusion>(shape, SharedHeadOptions{.dynamic = true});
  } else {
    fusion = std::make_shared<TransformerFusion>(
        shape,
        TransformerFusionOptions{.block = {.width = 6, .heads = 2}, .depth = 2, .max_tokens = 8});
  }
  fusion->to(torch::kDouble);
  torch::manual_seed(3);
  const torch::NoGradGuard no_grad;
  for (torch::Tensor& parameter : fusion->parameters()) {
    parameter.normal_(0.0, 0.5);
  }
  for (torch::Tensor& buffer : fusion->buffers()) {
    if (buffer.is_floating_point()) {
      buffer.uniform_(0.5, 1.5);
    }
  }
  return fusion;
}

inline std::shared_ptr<Fusion> make_fusion_of(const FusionCase& one) {
  return make_fusion_of(one, shape_of_case(one));
}

inline ModalityTensors random_features_of(const FusionCase& one, int64_t samples) {
  torch::manual_seed(5);
  ModalityTensors features;
  for (const FeatureKind kind : shape_of_case(one).feature_kinds) {
    std::vector<int64_t> sizes{samples, kFeature};
    if (kind == FeatureKind::kTokens) {
      sizes = {samples, 3, kFeature};
    } else if (kind == FeatureKind::kMap) {
      sizes = {samples, kFeature, 4, 2};
    }
    features.push_back(torch::randn(sizes, torch::kDouble));
  }
  return features;
}

/// Copies the parameters and buffers of `full` into `rebuilt`, a fusion without the modality
/// `absent` of `one`: equal names, columns and rows of the absent one left out.
inline void copy_without(const Fusion& full, Fusion& rebuilt, int64_t absent,
                         const FusionCase& one) {
  const torch::NoGradGuard no_grad;
  auto source = full.named_parameters();
  for (const auto& entry : full.named_buffers()) {
    source.insert(entry.key(), entry.value());
  }
  auto target = rebuilt.named_parameters();
  for (const auto& entry : rebuilt.named_buffers()) {
    target.insert(entry.key(), entry.value());
  }
  for (const auto& entry : target) {
    torch::Tensor from = source[entry.key()];
    const std::string& name = entry.key();
    if (name == "mix") {  // [depth, 1 + M]
      from = torch::cat({from.narrow(1, 0, 1 + absent), from.slice(1, 2 + absent)}, 1);
    } else if (one.type == "mmtm" && name.find("squeeze.weight") != std::string::npos) {
      const int64_t channels = from.size(1) / static_cast<int64_t>(one.modalities);
      from = torch::cat(
          {from.narrow(1, 0, absent * channels), from.slice(1, (absent + 1) * channels)}, 1);
      // The joint representation keeps its size in this test.
    }
    entry.value().set_data(from.clone());
  }
}

}  // namespace unbraid::testing
