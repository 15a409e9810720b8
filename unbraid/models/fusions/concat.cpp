#include "unbraid/models/fusions/concat.h"

#include <numeric>

#include "unbraid/models/script_source.h"

namespace unbraid {

ConcatFusion::ConcatFusion(const FusionShape& shape) : feature_sizes_(shape.feature_sizes) {
  check_feature_kinds("concat", shape, FeatureKind::kVector);
  const int64_t inputs = std::accumulate(feature_sizes_.begin(), feature_sizes_.end(), int64_t{0});
  fc_out_ = register_module("fc_out", torch::nn::Linear(inputs, shape.outputs));
}

torch::Tensor ConcatFusion::fuse(const ModalityTensors& features, const Presence& /*presence*/) {
  std::vector<torch::Tensor> present;
  std::vector<torch::Tensor> columns;
  int64_t offset = 0;
  for (size_t m = 0; m < feature_sizes_.size(); ++m) {
    if (features.at(m).defined()) {
      present.push_back(features[m]);
      columns.push_back(fc_out_->weight.narrow(1, offset, feature_sizes_[m]));
    }
    offset += feature_sizes_[m];
  }
  if (present.size() == 1) {
    return torch::linear(present[0], columns[0], fc_out_->bias);
  }
  const bool complete = present.size() == feature_sizes_.size();
  return torch::linear(torch::cat(present, 1), complete ? fc_out_->weight : torch::cat(columns, 1),
                       fc_out_->bias);
}

torch::Tensor ConcatFusion::weight_of(size_t modality) const {
  const auto before = feature_sizes_.begin() + static_cast<std::ptrdiff_t>(modality);
  return fc_out_->weight.narrow(1, std::accumulate(feature_sizes_.begin(), before, int64_t{0}),
                                feature_sizes_.at(modality));
}

std::string ConcatFusion::torchscript() const {
  script::Lines body;
  body.add("present: List[Tensor] = []");
  body.add("columns: List[Tensor] = []");
  int64_t offset = 0;
  for (size_t m = 0; m < feature_sizes_.size(); ++m) {
    body.add("if z{} is not None:", m);
    body.add("  present.append(z{})", m);
    body.add("  columns.append(torch.narrow(self.fc_out.weight, 1, {}, {}))", offset,
             feature_sizes_[m]);
    offset += feature_sizes_[m];
  }
  body.add("return torch.linear(torch.cat(present, 1), torch.cat(columns, 1), self.fc_out.bias)");
  return script::fusion(feature_sizes_.size(), body);
}

FusionBuilder ConcatFusion::read(Options& /*options*/) {
  return [](const FusionShape& shape) { return std::make_shared<ConcatFusion>(shape); };
}

}  // namespace unbraid
