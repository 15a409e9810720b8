#include "unbraid/models/fusions/shared_head.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "unbraid/models/script_source.h"

namespace unbraid {

SharedHeadFusion::SharedHeadFusion(const FusionShape& shape, SharedHeadOptions options)
    : options_(std::move(options)), modalities_(shape.modalities.size()) {
  check_feature_kinds("shared-head", shape, FeatureKind::kVector);
  const auto& sizes = shape.feature_sizes;
  if (std::adjacent_find(sizes.begin(), sizes.end(), std::not_equal_to<>()) != sizes.end()) {
    throw RecipeError(
        fmt::format("[shared-head] expected features of one size, got {} of the modalities {}",
                    fmt::join(sizes, ", "), fmt::join(shape.modalities, ", ")));
  }
  if (!options_.weights.empty() && options_.weights.size() != sizes.size()) {
    throw RecipeError(
        fmt::format("[shared-head] expected {} weights, one for each modality, got {}",
                    sizes.size(), options_.weights.size()));
  }
  head_ = register_module("head", torch::nn::Linear(sizes.at(0), shape.outputs));
}

torch::Tensor SharedHeadFusion::fuse(const ModalityTensors& features, const Presence& presence) {
  std::vector<torch::Tensor> outputs;
  std::vector<torch::Tensor> scores;  // logarithms of the weights, before they are divided
  for (size_t m = 0; m < features.size(); ++m) {
    if (!features[m].defined()) {
      continue;
    }
    outputs.push_back(head_->forward(features[m]).to(head_->weight.scalar_type()));
    const torch::Tensor& output = outputs.back();
    torch::Tensor score;
    if (options_.dynamic) {
      const torch::Tensor log_probability = torch::log_softmax(output, 1);
      score = (log_probability.exp() * log_probability).sum(1);
    } else {
      const double weight = options_.weights.empty() ? 1.0 : options_.weights[m];
      score = torch::full({output.size(0)}, std::log(weight), output.options());
    }
    if (!presence.complete(m)) {
      score = score.masked_fill(presence.has(m, score).logical_not(),
                                -std::numeric_limits<double>::infinity());
    }
    scores.push_back(score);
  }
  if (outputs.size() == 1) {
    return outputs[0];
  }
  const torch::Tensor weights = torch::softmax(torch::stack(scores), 0).unsqueeze(2);
  return (weights * torch::stack(outputs)).sum(0);
}

std::string SharedHeadFusion::torchscript() const {
  script::Lines body;
  body.add("outputs: List[Tensor] = []");
  body.add("scores: List[Tensor] = []");
  for (size_t m = 0; m < modalities_; ++m) {
    body.add("if z{} is not None:", m);
    body.add("  y = {}", script::linear(fmt::format("z{}", m), "head"));
    if (options_.dynamic) {
      body.add("  p = torch.log_softmax(y, 1)");
      body.add("  scores.append(torch.sum(torch.exp(p) * p, [1]))");
    } else {
      body.add("  scores.append(torch.full_like(torch.select(y, 1, 0), {:.17f}))",
               std::log(options_.weights.empty() ? 1.0 : options_.weights[m]));
    }
    body.add("  outputs.append(y)");
  }
  body.add("weights = torch.unsqueeze(torch.softmax(torch.stack(scores), 0), 2)");
  body.add("return torch.sum(weights * torch.stack(outputs), [0])");
  return script::fusion(modalities_, body);
}

FusionBuilder SharedHeadFusion::read(Options& options) {
  SharedHeadOptions read;
  read.dynamic = options.boolean("dynamic", false);
  read.weights = options.numbers("weights", std::vector<double>{}, {.min = 0.0, .open_min = true});
  if (read.dynamic && !read.weights.empty()) {
    throw options.error("weights", "expected either weights or dynamic = true, got both");
  }
  return
      [read](const FusionShape& shape) { return std::make_shared<SharedHeadFusion>(shape, read); };
}

}  // namespace unbraid
