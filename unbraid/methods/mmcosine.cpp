#include "unbraid/methods/mmcosine.h"

#include <stdexcept>

#include <fmt/format.h>

#include "unbraid/methods/modality_scores.h"
#include "unbraid/models/fusions/cosine.h"

namespace unbraid {

FusionBuilder MmCosine::fusion(const std::string& type, FusionBuilder /*fusion*/) const {
  if (type != "concat") {
    throw std::invalid_argument(
        fmt::format("expected \"concat\" with the method mmcosine, which puts \"cosine\" in its "
                    "place, got \"{}\"",
                    type));
  }
  return [scale = scale_](const FusionShape& shape) {
    return std::make_shared<CosineFusion>(shape, scale);
  };
}

std::shared_ptr<Method> MmCosine::read(Options& options, const MethodContext& /*context*/) {
  refuse_base(options, "it is a fusion: fusion.type = \"cosine\" with the method dgl does that");
  return std::make_shared<MmCosine>(
      options.number("scale", CosineFusion::kScale, {.min = 0.0, .open_min = true}));
}

}  // namespace unbraid
