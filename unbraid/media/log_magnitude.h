#pragma once

#include <cstdint>

namespace unbraid {

/// Makes each of `count` powers, finite and not below 0, ln(sqrt(power) + offset), within 2 units
/// of float's precision. What is below the smallest normal float counts as that.
void log_magnitude(float* powers, int64_t count, float offset);

}  // namespace unbraid
