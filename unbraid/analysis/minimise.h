#pragma once

#include <algorithm>

#include "unbraid/core/torch.h"

namespace unbraid {

/// Where `loss`, a convex function of a double tensor, is least: by L-BFGS from `start`. Draws no
/// random numbers.
template <typename Loss>
torch::Tensor minimise(const torch::Tensor& start, const Loss& loss) {
  constexpr int64_t kMostSteps = 500;
  const torch::AutoGradMode gradients(true);
  torch::Tensor point = start.detach().to(torch::kDouble).clone().set_requires_grad(true);
  torch::optim::LBFGS optimizer({point}, torch::optim::LBFGSOptions(1.0)
                                             .max_iter(kMostSteps)
                                             .max_eval(2 * kMostSteps)
                                             .tolerance_grad(1e-8)
                                             .tolerance_change(1e-12)
                                             .history_size(20)
                                             .line_search_fn("strong_wolfe"));
  optimizer.step([&] {
    optimizer.zero_grad();
    torch::Tensor value = loss(point);
    value.backward();
    return value;
  });
  return point.detach();
}

}  // namespace unbraid
