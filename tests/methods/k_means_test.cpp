#include "unbraid/methods/k_means.h"

#include <gtest/gtest.h>

namespace unbraid {
namespace {

RandomStream stream(uint64_t seed) { return RandomStream::of(seed, 1, "audio", "k-means"); }

TEST(KMeans, FindsWhatLiesApart) {
  const torch::Tensor centres = torch::tensor({{0.0, 0.0}, {10.0, 0.0}, {0.0, 10.0}});
  std::vector<torch::Tensor> points;
  std::vector<int64_t> labels;
  RandomStream random = stream(3);
  for (int64_t i = 0; i < 60; ++i) {
    points.push_back(centres[i % 3] + torch::tensor({random.normal(), random.normal()}));
    labels.push_back(i % 3);
  }
  const torch::Tensor label = torch::tensor(labels);
  for (uint64_t seed = 0; seed < 10; ++seed) {
    const torch::Tensor cluster = k_means(torch::stack(points).to(torch::kFloat), 3, stream(seed));
    EXPECT_EQ(purity(cluster, label), 1.0) << seed;
    EXPECT_EQ(std::get<0>(torch::_unique(cluster)).size(0), 3);
  }
}

/// Every point is nearest to the mean of its own cluster, computed with loops.
TEST(KMeans, EndsWhereNothingChanges) {
  torch::manual_seed(4);
  const torch::Tensor points = torch::rand({200, 3});
  const torch::Tensor cluster = k_means(points, 7, stream(0));
  EXPECT_TRUE(torch::equal(cluster, k_means(points, 7, stream(0))));
  std::vector<torch::Tensor> means;
  for (int64_t c = 0; c < 7; ++c) {
    means.push_back(points.index_select(0, (cluster == c).nonzero().flatten()).mean(0));
  }
  for (int64_t i = 0; i < points.size(0); ++i) {
    const double own = (points[i] - means[cluster[i].item<int64_t>()]).norm().item<double>();
    for (const torch::Tensor& mean : means) {
      EXPECT_LE(own, (points[i] - mean).norm().item<double>() + 1e-5);
    }
  }
}

TEST(KMeans, TakesFewerAndEqualPoints) {
  EXPECT_EQ(k_means(torch::zeros({2, 3}), 5, stream(0)).size(0), 2);
  EXPECT_EQ(k_means(torch::zeros({6, 3}), 4, stream(0)).size(0), 6);
}

TEST(KMeans, PurityCountsTheMostFrequentLabels) {
  // Cluster 0 has labels 0, 0, 1; cluster 2 has 1, 2: (2 + 1) of 5.
  EXPECT_DOUBLE_EQ(purity(torch::tensor({0, 0, 0, 2, 2}), torch::tensor({0, 0, 1, 1, 2})), 0.6);
}

}  // namespace
}  // namespace unbraid
