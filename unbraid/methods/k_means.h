#pragma once

#include <cstdint>

#include "unbraid/core/random.h"
#include "unbraid/core/torch.h"

namespace unbraid {

/// Lloyd's algorithm from centres that k-means++ (Arthur & Vassilvitskii, 2007) draws: the cluster
/// [N] int64 of each of `points` [N, d] float on the CPU, at most `clusters` of them. Ends when
/// nothing changes, or after `iterations`.
torch::Tensor k_means(const torch::Tensor& points, int64_t clusters, RandomStream random,
                      int iterations = 100);

/// The share of samples whose label is the most frequent one of their cluster; both [N] int64 of at
/// least 0, N > 0.
double purity(const torch::Tensor& cluster, const torch::Tensor& label);

}  // namespace unbraid
