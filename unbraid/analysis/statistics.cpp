#include "unbraid/analysis/statistics.h"

#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>

#include <boost/math/distributions/students_t.hpp>

namespace unbraid {

bool Estimate::differs_from_zero() const {
  constexpr double kRounding = 1e-9;
  return half_width > kRounding * std::abs(mean) && std::abs(mean) > half_width;
}

Estimate estimate(const std::vector<double>& values) {
  constexpr double kNothing = std::numeric_limits<double>::quiet_NaN();
  constexpr double kUpper = 0.975;
  Estimate result{kNothing, kNothing, values.size()};
  if (values.empty()) {
    return result;
  }
  const auto count = static_cast<double>(values.size());
  result.mean = std::accumulate(values.begin(), values.end(), 0.0) / count;
  if (values.size() < 2) {
    return result;
  }
  double squares = 0;
  for (const double value : values) {
    squares += (value - result.mean) * (value - result.mean);
  }
  const double error = std::sqrt(squares / (count - 1) / count);
  result.half_width = error * boost::math::quantile(
                                  boost::math::students_t_distribution<double>(count - 1), kUpper);
  return result;
}

Estimate estimate_difference(const std::vector<double>& values, const std::vector<double>& others) {
  if (values.size() != others.size()) {
    throw std::invalid_argument("[estimate_difference] expected pairs of values");
  }
  std::vector<double> differences(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    differences[i] = values[i] - others[i];
  }
  return estimate(differences);
}

}  // namespace unbraid
