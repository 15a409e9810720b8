#include "unbraid/models/fusions/fusion.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "unbraid/models/fusions/central.h"
#include "unbraid/models/fusions/concat.h"
#include "unbraid/models/fusions/cosine.h"
#include "unbraid/models/fusions/decoder.h"
#include "unbraid/models/fusions/film.h"
#include "unbraid/models/fusions/gated.h"
#include "unbraid/models/fusions/low_rank.h"
#include "unbraid/models/fusions/mmtm.h"
#include "unbraid/models/fusions/shared_head.h"
#include "unbraid/models/fusions/sum.h"
#include "unbraid/models/fusions/transformer.h"

namespace unbraid {
namespace {

struct Entry {
  const char* type;
  FusionBuilder (*read)(Options&);
};

constexpr std::array kFusions{
    Entry{"concat", ConcatFusion::read},
    Entry{"sum", SumFusion::read},
    Entry{"film", FilmFusion::read},
    Entry{"gated", GatedFusion::read},
    Entry{"low-rank", LowRankFusion::read},
    Entry{"central", CentralFusion::read},
    Entry{"mmtm", MmtmFusion::read},
    Entry{"transformer", TransformerFusion::read},
    Entry{"decoder", DecoderFusion::read},
    Entry{"cosine", CosineFusion::read},
    Entry{"shared-head", SharedHeadFusion::read},
};

}  // namespace

FusionBuilder read_fusion(Options& options) { return choose(options, kFusions).read(options); }

torch::Tensor Fusion::forward(const ModalityTensors& features, const Presence& presence) {
  TORCH_CHECK(std::any_of(features.begin(), features.end(),
                          [](const torch::Tensor& feature) { return feature.defined(); }),
              "[fusion] expected at least one feature, got none");
  return fuse(features, presence);
}

void check_output(const char* type, const FusionShape& shape, FeatureKind kind) {
  const bool map = kind == FeatureKind::kMap;
  if (map == shape.map.empty()) {
    throw RecipeError(fmt::format(
        "[{}] this fusion gives {}, but the task wants {}", type,
        map ? "an output for each pixel" : "one output for each sample",
        map ? "one for each sample" : "one for each pixel, as the fusion \"decoder\" gives"));
  }
}

void check_feature_kinds(const char* type, const FusionShape& shape, FeatureKind kind,
                         FeatureKind output) {
  constexpr std::array kNames{"vectors", "tokens", "maps"};
  check_output(type, shape, output);
  for (size_t m = 0; m < shape.modalities.size(); ++m) {
    const FeatureKind given =
        shape.feature_kinds.empty() ? FeatureKind::kVector : shape.feature_kinds.at(m);
    if (given != kind) {
      throw RecipeError(fmt::format("[{}] this fusion takes {}, but the encoder of {} gives {}",
                                    type, kNames[static_cast<size_t>(kind)], shape.modalities.at(m),
                                    kNames[static_cast<size_t>(given)]));
    }
  }
}

void check_names(const char* type, const FusionShape& shape,
                 const std::vector<std::string>& taken) {
  for (const std::string& name : shape.modalities) {
    if (std::find(taken.begin(), taken.end(), name) != taken.end()) {
      throw RecipeError(fmt::format(
          "[{}] expected another name for the modality \"{}\": a part of the fusion has it", type,
          name));
    }
  }
}

std::pair<torch::Tensor, torch::Tensor> stand_in(const torch::Tensor& first,
                                                 const torch::Tensor& last,
                                                 const Presence& presence) {
  if (!first.defined() || !last.defined()) {
    const torch::Tensor& only = first.defined() ? first : last;
    return {only, only};
  }
  const auto filled = [&](const torch::Tensor& own, size_t m, const torch::Tensor& other) {
    return presence.complete(m) ? own : torch::where(presence.has(m, own).unsqueeze(1), own, other);
  };
  const size_t modalities = presence.complete() ? 1 : static_cast<size_t>(presence.mask().size(1));
  return {filled(first, 0, last), filled(last, modalities - 1, first)};
}

void check_at_most_two(const char* type, const FusionShape& shape) {
  if (shape.modalities.empty() || shape.modalities.size() > 2) {
    throw RecipeError(
        fmt::format("[{}] this fusion is defined for at most two modalities, got {} ({})", type,
                    shape.modalities.size(), fmt::join(shape.modalities, ", ")));
  }
}

}  // namespace unbraid
