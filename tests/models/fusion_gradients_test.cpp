#include <gtest/gtest.h>

#include "models/finite_differences.h"
#include "models/fusion_cases.h"

namespace unbraid {
namespace {

using namespace unbraid::testing;  // NOLINT(google-build-using-namespace)

/// By `elements` of each feature and of each parameter.
void expect_gradients(Fusion& fusion, ModalityTensors& features,
                      const std::function<torch::Tensor()>& output, int64_t elements) {
  const auto loss = [&] { return cross_entropy(output()); };
  for (torch::Tensor& feature : features) {
    expect_finite_differences(feature, loss, elements);
  }
  for (auto& parameter : fusion.named_parameters()) {
    SCOPED_TRACE(parameter.key());
    expect_finite_differences(parameter.value(), loss, elements);
  }
}

class FusionGradients : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(All, FusionGradients,
                         ::testing::Values("concat", "sum", "film", "gated", "low-rank", "central",
                                           "mmtm", "transformer"));

// In training mode, so that those of MMTM go through the statistics of the batch.
TEST_P(FusionGradients, AreFiniteDifferencesFusedAloneAndWithAbsences) {
  for (const FusionCase& one : fusion_cases()) {
    const bool large = one.type == "mmtm" || one.type == "transformer";
    if (one.type != GetParam() || one.modalities > (large ? 2 : 3)) {
      continue;
    }
    const auto fusion = make_fusion_of(one);
    ModalityTensors features = random_features_of(one, kBatch);
    for (torch::Tensor& feature : features) {
      feature.set_requires_grad(true);
    }
    const int64_t elements = large ? 1 : 4;
    const std::string name = one.type + " of " + std::to_string(one.modalities);
    {
      SCOPED_TRACE(name + ", fused");
      expect_gradients(
          *fusion, features, [&] { return fusion->forward(features); }, elements);
    }
    for (size_t m = 0; m < one.modalities && one.modalities > 1; ++m) {
      SCOPED_TRACE(name + ", alone: " + std::to_string(m));
      ModalityTensors alone(one.modalities);
      alone[m] = features[m];
      expect_gradients(
          *fusion, features, [&] { return fusion->forward(alone); }, elements);
    }
    if (one.modalities > 1) {
      SCOPED_TRACE(name + ", some absent");
      torch::Tensor mask =
          torch::ones({kBatch, static_cast<int64_t>(one.modalities)}, torch::kBool);
      mask[1][0] = false;
      mask[3][1] = false;
      const Presence presence(mask);
      const auto output = [&] {
        ModalityTensors zeroed;
        for (size_t m = 0; m < features.size(); ++m) {
          zeroed.push_back(presence.spread(presence.pack(features[m], m), m));
        }
        return fusion->forward(zeroed, presence);
      };
      expect_gradients(*fusion, features, output, elements);
    }
  }
}

}  // namespace
}  // namespace unbraid
