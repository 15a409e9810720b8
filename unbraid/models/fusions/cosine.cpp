#include "unbraid/models/fusions/cosine.h"

#include <numeric>

#include "unbraid/models/script_source.h"

namespace unbraid {
namespace {

/// Rows of length 1; rows of zeros, which absent features are, stay so.
torch::Tensor unit_rows(const torch::Tensor& rows) {
  return torch::nn::functional::normalize(rows,
                                          torch::nn::functional::NormalizeFuncOptions().dim(1));
}

}  // namespace

CosineFusion::CosineFusion(const FusionShape& shape, double scale)
    : feature_sizes_(shape.feature_sizes), scale_(scale) {
  check_feature_kinds("cosine", shape, FeatureKind::kVector);
  const int64_t inputs = std::accumulate(feature_sizes_.begin(), feature_sizes_.end(), int64_t{0});
  fc_out_ = register_module(
      "fc_out", torch::nn::Linear(torch::nn::LinearOptions(inputs, shape.outputs).bias(false)));
}

torch::Tensor CosineFusion::fuse(const ModalityTensors& features, const Presence& /*presence*/) {
  std::vector<torch::Tensor> units;
  std::vector<torch::Tensor> columns;
  int64_t offset = 0;
  for (size_t m = 0; m < feature_sizes_.size(); ++m) {
    if (features.at(m).defined()) {
      units.push_back(unit_rows(features[m].to(fc_out_->weight.scalar_type())));
      columns.push_back(unit_rows(fc_out_->weight.narrow(1, offset, feature_sizes_[m])));
    }
    offset += feature_sizes_[m];
  }
  return scale_ * torch::linear(torch::cat(units, 1), torch::cat(columns, 1));
}

std::string CosineFusion::torchscript() const {
  constexpr const char* kUnit = "{0} / torch.clamp_min(torch.norm({0}, 2, [1], True), 1e-12)";
  script::Lines body;
  body.add("parts: List[Tensor] = []");
  int64_t offset = 0;
  for (size_t m = 0; m < feature_sizes_.size(); ++m) {
    body.add("if z{} is not None:", m);
    body.add("  z = z{}", m);
    body.add("  w = torch.narrow(self.fc_out.weight, 1, {}, {})", offset, feature_sizes_[m]);
    body.add("  w = {}", fmt::format(kUnit, "w"));
    body.add("  parts.append(torch.matmul({}, torch.t(w)))", fmt::format(kUnit, "z"));
    offset += feature_sizes_[m];
  }
  body.add("return torch.mul(torch.sum(torch.stack(parts), [0]), {:.17f})", scale_);
  return script::fusion(feature_sizes_.size(), body);
}

FusionBuilder CosineFusion::read(Options& options) {
  const double scale = options.number("scale", kScale, {.min = 0.0, .open_min = true});
  return [scale](const FusionShape& shape) { return std::make_shared<CosineFusion>(shape, scale); };
}

}  // namespace unbraid
