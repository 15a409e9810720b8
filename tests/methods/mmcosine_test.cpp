#include "unbraid/methods/mmcosine.h"

#include <stdexcept>

#include <gtest/gtest.h>

#include "methods/testing.h"

namespace unbraid {
namespace {

using namespace unbraid::testing;  // NOLINT(google-build-using-namespace)

TEST(MmCosine, PutsTheCosineInThePlaceOfAConcatenation) {
  const auto method = read({{"type", text("mmcosine")}, {"scale", number(7)}});
  const auto fusion = method->fusion("concat", {})(shape_of(2));
  fusion->to(torch::kDouble);
  const torch::Tensor feature = torch::tensor({{3.0, 0.0, 4.0, 0.0}}, torch::kDouble);
  const torch::Tensor weight = fusion->named_parameters()["fc_out.weight"].narrow(1, 0, kFeature);
  const torch::Tensor cosine = weight.matmul(feature[0] / 5) / weight.norm(2, 1);
  EXPECT_TRUE(torch::allclose(fusion->forward({feature, torch::Tensor()})[0], 7 * cosine));
  EXPECT_EQ(fusion->named_parameters().size(), 1);
}

TEST(MmCosine, ScalesBy15UnlessToldOtherwise) {
  const auto fusion = read({{"type", text("mmcosine")}})->fusion("concat", {})(shape_of(1));
  const torch::Tensor weight = fusion->named_parameters()["fc_out.weight"];
  EXPECT_NEAR(fusion->forward({2 * weight.detach()})[1][1].item<double>(), 15, 1e-4);
  EXPECT_THROW(read({{"type", text("mmcosine")}, {"scale", number(0)}}), RecipeError);
}

TEST(MmCosine, RefusesOtherFusions) {
  const auto method = read({{"type", text("mmcosine")}});
  for (const char* type : {"sum", "cosine", "film"}) {
    EXPECT_THROW((void)method->fusion(type, {}), std::invalid_argument) << type;
  }
}

TEST(MmCosine, TrainsJointly) {
  const auto method = read({{"type", text("mmcosine")}});
  for (const Batch& batch : {make_batch(3), make_incomplete_batch(3)}) {
    const auto expected = naive_gradients(*make_model("cosine", 3), batch.inputs,
                                          GradientRoute::joint(), batch.presence);
    MultimodalModel model = make_model("cosine", 3);
    for (const auto& [name, gradient] : gradients_by(*method, *model, batch)) {
      EXPECT_TRUE(same(gradient, expected.at(name))) << name;
    }
  }
}

}  // namespace
}  // namespace unbraid
