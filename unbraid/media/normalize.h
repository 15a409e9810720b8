#pragma once

#include "unbraid/core/options.h"
#include "unbraid/core/torch.h"

namespace unbraid {

/// Key `normalize`: "none" (false, the default) or "sample" (true).
bool read_normalize(Options& options);

/// Shifted and scaled to zero mean and unit variance over all its values; a constant becomes zero.
torch::Tensor normalized(const torch::Tensor& values);

}  // namespace unbraid
