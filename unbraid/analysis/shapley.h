#pragma once

#include <cstddef>
#include <vector>

namespace unbraid {

/// The Shapley values (Shapley, 1953) of M players of a game with a value for every coalition:
///
///     phi_m = sum over S without m of |S|! (M - |S| - 1)! / M! (v(S + m) - v(S)),
///
/// which add up to v(all) - v(none). `values` [2^M]: v(S) at the index whose bit m says whether m
/// is in S. Throws std::invalid_argument for another size, or M above 20.
std::vector<double> shapley_values(const std::vector<double>& values);

}  // namespace unbraid
