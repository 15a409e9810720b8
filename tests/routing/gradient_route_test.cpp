#include "unbraid/routing/gradient_route.h"

#include <cmath>
#include <limits>
#include <sstream>
#include <stdexcept>

#include <gtest/gtest.h>

namespace unbraid {
namespace {

TEST(GradientRoute, NamedConstructorsHaveTheWeightsOfThePaper) {
  EXPECT_EQ(GradientRoute::joint(), (GradientRoute{1.0, 1.0, 0.0, 0.0}));
  EXPECT_EQ(GradientRoute::auxiliary(0.5), (GradientRoute{1.0, 1.0, 0.5, 0.5}));
  EXPECT_EQ(GradientRoute::dgl(4.0), (GradientRoute{0.0, 1.0, 4.0, 0.0}));
  EXPECT_EQ(GradientRoute::unimodal(), (GradientRoute{0.0, 0.0, 1.0, 1.0}));
}

TEST(GradientRoute, AWeightIsSharedOrGivenForEachModality) {
  const ModalityWeights shared = 2.0;
  EXPECT_EQ(shared[0], 2.0);
  EXPECT_EQ(shared[7], 2.0);
  const ModalityWeights each = std::vector<double>{1.0, 0.0};
  EXPECT_EQ(each[1], 0.0);
  EXPECT_TRUE(each.any());
  EXPECT_FALSE(ModalityWeights(std::vector<double>{0.0, 0.0}).any());
}

TEST(GradientRoute, KnowsWhichLossesAndPartsItUses) {
  const GradientRoute dgl = GradientRoute::dgl(1.0);
  EXPECT_TRUE(dgl.has_multimodal_loss());
  EXPECT_TRUE(dgl.has_unimodal_loss(0));
  EXPECT_TRUE(dgl.reaches_encoder(1));
  EXPECT_TRUE(dgl.reaches_fusion());
  EXPECT_FALSE(GradientRoute::joint().has_unimodal_loss(0));
  EXPECT_FALSE(GradientRoute::unimodal().has_multimodal_loss());
  const GradientRoute first_only{std::vector<double>{1, 0}, 0.0, 0.0, 0.0};
  EXPECT_TRUE(first_only.reaches_encoder(0));
  EXPECT_FALSE(first_only.reaches_encoder(1));
  EXPECT_FALSE(first_only.reaches_fusion());
}

TEST(GradientRoute, RefusesWeightsThatAreNone) {
  EXPECT_NO_THROW(GradientRoute::dgl(4.0).check(2));
  EXPECT_THROW(GradientRoute::dgl(-1.0).check(2), std::invalid_argument);
  EXPECT_THROW(GradientRoute::dgl(std::nan("")).check(2), std::invalid_argument);
  EXPECT_THROW(GradientRoute::auxiliary(std::numeric_limits<double>::infinity()).check(2),
               std::invalid_argument);
  EXPECT_THROW((GradientRoute{0.0, 0.0, 0.0, 0.0}.check(2)), std::invalid_argument);
  const GradientRoute two{std::vector<double>{1, 0}, 1.0, 0.0, 0.0};
  EXPECT_NO_THROW(two.check(2));
  EXPECT_THROW(two.check(3), std::invalid_argument);
  const GradientRoute one{std::vector<double>{1}, 1.0, 0.0, 0.0};
  EXPECT_THROW(one.check(2), std::invalid_argument);
}

TEST(GradientRoute, PrintsItsTable) {
  std::ostringstream stream;
  stream << GradientRoute::dgl(4.0);
  EXPECT_EQ(stream.str(),
            "loss              encoder m   fusion module\n"
            "multimodal        0           1\n"
            "unimodal of m     4           0\n");
  const GradientRoute each{std::vector<double>{0.5, 0.25, 0.125}, 1.0, 0.0, 0.0};
  EXPECT_NE(each.table().find("0.5, 0.25, 0.125  1"), std::string::npos) << each.table();
}

}  // namespace
}  // namespace unbraid
