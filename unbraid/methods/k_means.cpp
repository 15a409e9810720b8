#include "unbraid/methods/k_means.h"

#include <algorithm>
#include <tuple>
#include <vector>

namespace unbraid {
namespace {

/// The nearest of `centres` [k, d] to each point, and the square of its distance.
std::tuple<torch::Tensor, torch::Tensor> nearest_centres(const torch::Tensor& points,
                                                         const torch::Tensor& centres) {
  constexpr int64_t kRows = 16384;  // keeps [rows, k] small
  const torch::Tensor lengths = centres.square().sum(1);
  std::vector<torch::Tensor> which;
  std::vector<torch::Tensor> distances;
  for (const torch::Tensor& rows : points.split(kRows)) {
    const torch::Tensor squares =
        rows.square().sum(1, true) - 2 * rows.matmul(centres.t()) + lengths;
    auto [distance, centre] = squares.min(1);
    which.push_back(centre);
    distances.push_back(distance.clamp_min(0));
  }
  return {torch::cat(which), torch::cat(distances)};
}

/// An index, each with a probability that is proportional to its weight.
int64_t draw(const torch::Tensor& weights, RandomStream& random) {
  const torch::Tensor sums = weights.to(torch::kDouble).cumsum(0);
  const double target = random.uniform() * sums[-1].item<double>();
  const int64_t found = (sums <= target).sum().item<int64_t>();
  return std::min(found, weights.size(0) - 1);
}

}  // namespace

torch::Tensor k_means(const torch::Tensor& points, int64_t clusters, RandomStream random,
                      int iterations) {
  const torch::NoGradGuard no_grad;
  const int64_t count = points.size(0);
  torch::Tensor centres =
      points[static_cast<int64_t>(random.below(static_cast<uint64_t>(count)))].unsqueeze(0);
  torch::Tensor distances = std::get<1>(nearest_centres(points, centres));
  while (centres.size(0) < std::min(clusters, count)) {
    const torch::Tensor next = points[draw(distances, random)].unsqueeze(0);
    centres = torch::cat({centres, next});
    distances = torch::minimum(distances, std::get<1>(nearest_centres(points, next)));
  }
  torch::Tensor cluster;
  for (int i = 0; i < iterations; ++i) {
    const torch::Tensor before = cluster;
    cluster = std::get<0>(nearest_centres(points, centres));
    if (before.defined() && torch::equal(cluster, before)) {
      break;
    }
    const torch::Tensor sums = torch::zeros_like(centres).index_add_(0, cluster, points);
    const torch::Tensor sizes = torch::bincount(cluster, {}, centres.size(0)).unsqueeze(1);
    centres = torch::where(sizes > 0, sums / sizes.clamp_min(1), centres);
  }
  return cluster;
}

double purity(const torch::Tensor& cluster, const torch::Tensor& label) {
  const int64_t labels = label.max().item<int64_t>() + 1;
  const int64_t clusters = cluster.max().item<int64_t>() + 1;
  const torch::Tensor counts =
      torch::bincount(cluster * labels + label, {}, clusters * labels).view({clusters, labels});
  return static_cast<double>(std::get<0>(counts.max(1)).sum().item<int64_t>()) /
         static_cast<double>(cluster.size(0));
}

}  // namespace unbraid
