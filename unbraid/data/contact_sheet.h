#pragma once

#include <vector>

#include "unbraid/core/torch.h"

namespace unbraid {

/// Pictures of inputs as the encoders see them, side by side: uint8 [height, width, 3], a row for
/// each entry of `rows`. An input [C, H, W] is a picture in RGB (C = 3) or grey (one for each other
/// channel), [N, C, H, W] one for each frame, anything smaller a strip of its values; each is
/// scaled to its own range. An undefined one is left black. Pictures are kHeight pixels high.
torch::Tensor contact_sheet(const std::vector<std::vector<torch::Tensor>>& rows);

}  // namespace unbraid
