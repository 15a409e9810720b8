#include "unbraid/models/fusions/fusion.h"

#include <array>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "unbraid/models/fusions/concat.h"
#include "unbraid/models/fusions/film.h"
#include "unbraid/models/fusions/gated.h"
#include "unbraid/models/fusions/sum.h"

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
};

}  // namespace

FusionBuilder read_fusion(Options& options) { return choose(options, kFusions).read(options); }

void check_at_most_two(const char* type, const FusionShape& shape) {
  if (shape.modalities.empty() || shape.modalities.size() > 2) {
    throw RecipeError(
        fmt::format("[{}] this fusion is defined for at most two modalities, got {} ({})", type,
                    shape.modalities.size(), fmt::join(shape.modalities, ", ")));
  }
}

}  // namespace unbraid
