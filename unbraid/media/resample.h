#pragma once

#include <string>
#include <vector>

#include "unbraid/core/torch.h"

namespace unbraid {

/// `samples`, taken `from` times a second, as if they had been taken `to` times a second: float
/// [T * to / from, rounded], with silence before the first and after the last. The filter is that
/// of libsoxr's "high quality" (20 bits), whose response is measured once for each ratio and then
/// applied by products of vectors; a ratio without a small table goes through libsoxr itself.
/// Throws DataError, which names `path`, when nothing comes out or too much memory would be needed.
torch::Tensor resample(const std::vector<float>& samples, double from, double to,
                       const std::string& path);

}  // namespace unbraid
