#include "unbraid/analysis/shapley.h"

#include <bit>
#include <stdexcept>

namespace unbraid {

std::vector<double> shapley_values(const std::vector<double>& values) {
  constexpr size_t kMostPlayers = 20;
  if (!std::has_single_bit(values.size()) || values.size() > (size_t{1} << kMostPlayers)) {
    throw std::invalid_argument("[shapley_values] expected 2^M values, M at most 20");
  }
  const auto players = static_cast<size_t>(std::countr_zero(values.size()));
  std::vector<double> weights(players);  // by the size of S: 1 / (M * binomial(M - 1, |S|))
  for (size_t size = 0; size < players; ++size) {
    weights[size] = size == 0 ? 1.0 / static_cast<double>(players)
                              : weights[size - 1] * static_cast<double>(size) /
                                    static_cast<double>(players - size);
  }
  std::vector<double> shares(players, 0.0);
  for (size_t coalition = 0; coalition < values.size(); ++coalition) {
    for (size_t m = 0; m < players; ++m) {
      if (const size_t with = coalition | (size_t{1} << m); with != coalition) {
        shares[m] += weights[static_cast<size_t>(std::popcount(coalition))] *
                     (values[with] - values[coalition]);
      }
    }
  }
  return shares;
}

}  // namespace unbraid
