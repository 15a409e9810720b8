#include "unbraid/models/fusions/low_rank.h"

#include "unbraid/models/script_source.h"

namespace unbraid {

LowRankFusion::LowRankFusion(const FusionShape& shape, int64_t rank) : rank_(rank) {
  check_feature_kinds("low-rank", shape, FeatureKind::kVector);
  for (size_t m = 0; m < shape.modalities.size(); ++m) {
    factors_.push_back(
        register_module("fc_" + shape.modalities[m],
                        torch::nn::Linear(shape.feature_sizes.at(m), rank * shape.outputs)));
  }
}

torch::Tensor LowRankFusion::fuse(const ModalityTensors& features, const Presence& presence) {
  torch::Tensor product;
  for (size_t m = 0; m < factors_.size(); ++m) {
    if (features[m].defined()) {
      torch::Tensor factor = factors_[m]->forward(features[m]);
      if (!presence.complete(m)) {
        factor = factor.masked_fill(~presence.has(m, factor).unsqueeze(1), 1.0);
      }
      product = product.defined() ? product * factor : factor;
    }
  }
  return product.unflatten(1, {rank_, -1}).sum(1);
}

std::string LowRankFusion::torchscript() const {
  script::Lines body;
  body.add("factors: List[Tensor] = []");
  const auto children = named_children();
  for (size_t m = 0; m < factors_.size(); ++m) {
    body.add("if z{} is not None:", m);
    body.add("  factors.append({})", script::linear(fmt::format("z{}", m), children[m].key()));
  }
  body.add("product = torch.prod(torch.stack(factors), 0)");
  body.add("return torch.sum(torch.unflatten(product, 1, [{}, -1]), [1])", rank_);
  return script::fusion(factors_.size(), body);
}

FusionBuilder LowRankFusion::read(Options& options) {
  const int64_t rank = options.integer("rank", 4, {.min = 1, .max = 1024});
  return [rank](const FusionShape& shape) { return std::make_shared<LowRankFusion>(shape, rank); };
}

}  // namespace unbraid
