#pragma once

#include <cstddef>
#include <vector>

namespace unbraid {

/// A mean with its 95 % confidence interval, mean ± half_width, by Student's t distribution of
/// count - 1 degrees of freedom: for values that are independent and roughly normal, such as one
/// result of several seeds.
struct Estimate {
  double mean = 0;
  double half_width = 0;  // NaN for fewer than two values
  size_t count = 0;

  /// Whether the interval leaves out zero. Values that are all equal, as of few seeds on few
  /// samples, have an interval without width, which says nothing of chance: false.
  [[nodiscard]] bool differs_from_zero() const;
};

/// Of `values`; NaN without any.
Estimate estimate(const std::vector<double>& values);

/// Of the differences `values[i] - others[i]`, paired: what the two have in common, as a seed,
/// widens it no more. Both have the same length.
Estimate estimate_difference(const std::vector<double>& values, const std::vector<double>& others);

}  // namespace unbraid
