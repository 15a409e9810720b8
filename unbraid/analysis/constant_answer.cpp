#include "unbraid/analysis/constant_answer.h"

#include "unbraid/analysis/minimise.h"

namespace unbraid {

void ConstantAnswer::add(const torch::Tensor& target) {
  if (target.scalar_type() != torch::kLong) {
    targets_.push_back(target);
    return;
  }
  const int64_t classes = task_.outputs();
  torch::Tensor known = target.flatten();
  if (const PixelLabels* labels = task_.pixel_labels()) {
    known = known.index({known != labels->ignore});
  }
  const torch::Tensor counts = torch::bincount(known, {}, classes).to(torch::kDouble);
  counts_ = counts_.defined() ? counts_ + counts : counts;
}

torch::Tensor ConstantAnswer::output() const {
  if (counts_.defined()) {
    constexpr double kNever = 1e-9;  // samples, so that the logarithm is a number
    return ((counts_ + kNever) / counts_.sum().clamp_min(1)).log().to(torch::kFloat);
  }
  TORCH_CHECK(!targets_.empty(), "[constant_answer] expected a target");
  const torch::Tensor targets = torch::stack(targets_);
  return minimise(torch::zeros({task_.outputs()}),
                  [&](const torch::Tensor& output) {
                    return task_.loss(output.unsqueeze(0).expand({targets.size(0), -1}), targets);
                  })
      .to(torch::kFloat);
}

}  // namespace unbraid
