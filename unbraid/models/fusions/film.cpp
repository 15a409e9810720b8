#include "unbraid/models/fusions/film.h"

#include <fmt/format.h>

#include "unbraid/core/autocast.h"
#include "unbraid/models/script_source.h"

namespace unbraid {

FilmFusion::FilmFusion(const FusionShape& shape) : modalities_(shape.modalities.size()) {
  check_at_most_two("film", shape);
  check_feature_kinds("film", shape, FeatureKind::kVector);
  size_ = shape.feature_sizes.front();
  if (shape.feature_sizes.back() != size_) {
    throw RecipeError(fmt::format("[film] expected features of one size, got {} and {}", size_,
                                  shape.feature_sizes.back()));
  }
  fc_ = register_module("fc", torch::nn::Linear(size_ * size_, size_));
  fc_out_ = register_module("fc_out", torch::nn::Linear(size_, shape.outputs));
}

torch::Tensor FilmFusion::fuse(const ModalityTensors& features, const Presence& presence) {
  const auto [left, right] = stand_in(features.front(), features.back(), presence);
  // d multiplications a sample for the outer product against d a class for the forms.
  const bool fewer_classes = fc_out_->weight.size(0) <= left.size(0);
  if (fewer_classes && (!torch::GradMode::is_enabled() || !fc_->weight.requires_grad())) {
    return bilinear_forms(left, right);
  }
  return fc_out_->forward(fc_->forward((left.unsqueeze(2) * right.unsqueeze(1)).flatten(1)));
}

torch::Tensor FilmFusion::bilinear_forms(const torch::Tensor& left, const torch::Tensor& right) {
  // In the parameters' own precision: the product of two maps rounded to bfloat16 would be coarser
  // than either.
  const AutocastGuard full_precision(left.device().type(), false);
  const auto dtype = fc_->weight.scalar_type();
  const torch::Tensor forms =
      torch::matmul(fc_out_->weight, fc_->weight).view({-1, size_, size_});  // [outputs, d, d]
  const torch::Tensor bias = torch::linear(fc_->bias, fc_out_->weight, fc_out_->bias);
  const torch::Tensor half = torch::matmul(left.to(dtype).unsqueeze(0), forms);  // [outputs, B, d]
  return (half * right.to(dtype)).sum(2).t() + bias;
}

std::string FilmFusion::torchscript() const {
  script::Lines body;
  body.add("present: List[Tensor] = []");
  for (size_t m = 0; m < modalities_; ++m) {
    body.add("if z{} is not None:", m);
    body.add("  present.append(z{})", m);
  }
  body.add("product = torch.unsqueeze(present[0], 2) * torch.unsqueeze(present[-1], 1)");
  body.add("return {}",
           script::linear(script::linear("torch.flatten(product, 1)", "fc"), "fc_out"));
  return script::fusion(modalities_, body);
}

FusionBuilder FilmFusion::read(Options& /*options*/) {
  return [](const FusionShape& shape) { return std::make_shared<FilmFusion>(shape); };
}

}  // namespace unbraid
