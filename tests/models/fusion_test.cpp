#include "unbraid/models/fusions/fusion.h"
#include "unbraid/models/fusions/gated.h"

#include <gtest/gtest.h>

#include "routing/routing_fixtures.h"

namespace unbraid {
namespace {

using namespace unbraid::testing;  // NOLINT(google-build-using-namespace)

std::shared_ptr<Fusion> make_fusion(const std::string& type, size_t modalities) {
  Value table = Value::table("r.toml:1");
  assign(*std::get<Value::TablePointer>(table.data), "type", {type, "r.toml:2"});
  Options options(table, "fusion");
  auto fusion = read_fusion(options)(shape_of(modalities));
  fusion->to(torch::kDouble);
  torch::manual_seed(3);
  const torch::NoGradGuard no_grad;
  for (torch::Tensor& parameter : fusion->parameters()) {
    parameter.normal_();
  }
  return fusion;
}

ModalityTensors random_features(size_t modalities) {
  torch::manual_seed(5);
  ModalityTensors features;
  for (size_t m = 0; m < modalities; ++m) {
    features.push_back(torch::randn({kBatch, kFeature}, torch::kDouble));
  }
  return features;
}

ModalityTensors only(const ModalityTensors& features, size_t modality) {
  ModalityTensors alone(features.size());
  alone[modality] = features[modality];
  return alone;
}

struct Case {
  std::string type;
  size_t modalities;
};
const std::vector<Case> kCases{
    {"concat", 1}, {"concat", 2},      {"concat", 3},      {"sum", 1},
    {"sum", 2},    {"sum", 3},         {"film", 1},        {"film", 2},
    {"gated", 1},  {"gated", 2},       {"cosine", 1},      {"cosine", 2},
    {"cosine", 3}, {"shared-head", 1}, {"shared-head", 2}, {"shared-head", 3}};

/// The table of the design, written out with loops over single numbers.
torch::Tensor by_hand(const std::string& type, const torch::nn::Module& fusion,
                      const ModalityTensors& features) {
  const auto p = fusion.named_parameters();
  const auto names = shape_of(features.size()).modalities;
  torch::Tensor output = torch::zeros({kBatch, kClasses}, torch::kDouble);
  const auto linear = [&](const std::string& name, int64_t row, const std::vector<double>& input) {
    double sum = p[name + ".bias"][row].item<double>();
    for (size_t j = 0; j < input.size(); ++j) {
      sum += p[name + ".weight"][row][static_cast<int64_t>(j)].item<double>() * input[j];
    }
    return sum;
  };
  std::vector<size_t> present;
  for (size_t m = 0; m < features.size(); ++m) {
    if (features[m].defined()) {
      present.push_back(m);
    }
  }
  for (int64_t b = 0; b < kBatch; ++b) {
    const auto values = [&](size_t m) {
      std::vector<double> row;
      for (int64_t j = 0; j < kFeature; ++j) {
        row.push_back(features[m][b][j].item<double>());
      }
      return row;
    };
    std::vector<double> hidden;
    for (int64_t c = 0; c < kClasses; ++c) {
      double y = 0;
      if (type == "concat") {
        std::vector<double> joined;
        for (size_t m = 0; m < features.size(); ++m) {
          const auto row = features[m].defined() ? values(m) : std::vector<double>(kFeature, 0.0);
          joined.insert(joined.end(), row.begin(), row.end());
        }
        y = linear("fc_out", c, joined);
      } else if (type == "sum") {
        for (const size_t m : present) {
          y += linear("fc_" + names[m], c, values(m));
        }
      } else if (type == "shared-head") {
        for (const size_t m : present) {
          y += linear("head", c, values(m)) / static_cast<double>(present.size());
        }
      } else if (type == "cosine") {
        for (const size_t m : present) {
          double product = 0;
          double feature_square = 0;
          double weight_square = 0;
          for (int64_t j = 0; j < kFeature; ++j) {
            const double feature = features[m][b][j].item<double>();
            const double weight =
                p["fc_out.weight"][c][static_cast<int64_t>(m) * kFeature + j].item<double>();
            product += feature * weight;
            feature_square += feature * feature;
            weight_square += weight * weight;
          }
          y += 15 * product / std::sqrt(feature_square * weight_square);
        }
      } else {
        if (hidden.empty()) {
          const size_t first = present.front();
          const size_t second = present.back();
          for (int64_t i = 0; i < kFeature; ++i) {
            if (type == "film") {
              std::vector<double> outer;
              for (const double left : values(first)) {
                for (const double right : values(second)) {
                  outer.push_back(left * right);
                }
              }
              hidden.push_back(linear("fc", i, outer));
            } else {
              const double gate = linear("fc_" + names[first], i, values(first));
              hidden.push_back(linear("fc_" + names[second], i, values(second)) /
                               (1 + std::exp(-gate)));
            }
          }
        }
        y = linear("fc_out", c, hidden);
      }
      output[b][c] = y;
    }
  }
  return output;
}

TEST(Fusion, ComputesTheFormulasOfTheDesignFusedAndAlone) {
  for (const Case& one : kCases) {
    SCOPED_TRACE(one.type + " of " + std::to_string(one.modalities));
    const auto fusion = make_fusion(one.type, one.modalities);
    const ModalityTensors features = random_features(one.modalities);
    EXPECT_TRUE(torch::allclose(fusion->forward(features), by_hand(one.type, *fusion, features)));
    for (size_t m = 0; m < one.modalities; ++m) {
      const ModalityTensors alone = only(features, m);
      EXPECT_TRUE(torch::allclose(fusion->forward(alone), by_hand(one.type, *fusion, alone)));
    }
  }
}

TEST(Fusion, ConcatAndSumTakeAnySubset) {
  for (const char* type : {"concat", "sum", "cosine", "shared-head"}) {
    const auto fusion = make_fusion(type, 3);
    ModalityTensors features = random_features(3);
    features[1] = torch::Tensor();
    EXPECT_TRUE(torch::allclose(fusion->forward(features), by_hand(type, *fusion, features)));
  }
}

TEST(Fusion, RefusesNothingAtAll) {
  for (const char* type : {"concat", "sum", "film", "gated"}) {
    EXPECT_THROW(make_fusion(type, 2)->forward(ModalityTensors(2)), c10::Error) << type;
  }
}

// Without parameter gradients FiLM multiplies its two maps first; the values are the same.
TEST(Fusion, FilmGivesTheSameWithAndWithoutParameterGradients) {
  const auto fusion = make_fusion("film", 2);
  const ModalityTensors features = random_features(2);
  const torch::Tensor full = fusion->forward(features);
  {
    const torch::NoGradGuard no_grad;
    EXPECT_TRUE(torch::allclose(fusion->forward(features), full));
  }
  for (torch::Tensor& parameter : fusion->parameters()) {
    parameter.set_requires_grad(false);
  }
  EXPECT_TRUE(torch::allclose(fusion->forward(features), full));
}

/// A fusion "shared-head" of identity features, with these keys.
torch::Tensor shared_head(const std::vector<std::pair<std::string, Value>>& keys,
                          const ModalityTensors& features) {
  Value table = Value::table("r.toml:1");
  auto& entries = *std::get<Value::TablePointer>(table.data);
  entries = keys;
  assign(entries, "type", {std::string("shared-head"), "r.toml:2"});
  Options options(table, "fusion");
  const auto fusion = read_fusion(options)({{"audio", "image"}, {kClasses, kClasses}, kClasses});
  options.finish();
  fusion->to(torch::kDouble);
  const torch::NoGradGuard no_grad;
  fusion->named_parameters()["head.weight"].copy_(torch::eye(kClasses));
  fusion->named_parameters()["head.bias"].zero_();
  return fusion->forward(features);
}

/// [1, 3] of the given entropy.
torch::Tensor logits_of_entropy(double entropy) {
  double low = 0;
  double high = 50;
  for (int i = 0; i < 100; ++i) {
    const double middle = (low + high) / 2;
    const double p = std::exp(middle) / (std::exp(middle) + 2);
    const double q = (1 - p) / 2;
    (-p * std::log(p) - 2 * q * std::log(q) > entropy ? low : high) = middle;
  }
  return torch::tensor({{low, 0.0, 0.0}}, torch::kDouble);
}

TEST(Fusion, SharedHeadWeighsByEntropyAsTheReferenceCode) {
  const ModalityTensors features{logits_of_entropy(0.5), logits_of_entropy(1.0)};
  const torch::Tensor fused = shared_head({{"dynamic", {true, "r.toml:3"}}}, features);
  EXPECT_TRUE(torch::allclose(fused, 0.622459 * features[0] + 0.377541 * features[1], 1e-5, 1e-6));
}

TEST(Fusion, SharedHeadTakesWeights) {
  const ModalityTensors features = random_features(2);
  const ModalityTensors classes{features[0].narrow(1, 0, kClasses),
                                features[1].narrow(1, 0, kClasses)};
  const Value::List weights{{1.5, "r.toml:3"}, {0.5, "r.toml:3"}};
  EXPECT_TRUE(torch::allclose(shared_head({{"weights", {weights, "r.toml:3"}}}, classes),
                              0.75 * classes[0] + 0.25 * classes[1]));
  EXPECT_TRUE(torch::allclose(
      shared_head({{"weights", {weights, "r.toml:3"}}}, {torch::Tensor(), classes[1]}),
      classes[1]));
  const Value::List one{{1.5, "r.toml:3"}};
  EXPECT_THROW(shared_head({{"weights", {one, "r.toml:3"}}}, classes), RecipeError);
  EXPECT_THROW(
      shared_head({{"weights", {weights, "r.toml:3"}}, {"dynamic", {true, "r.toml:4"}}}, classes),
      RecipeError);
}

TEST(Fusion, SharedHeadRefusesFeaturesOfTwoSizes) {
  Value table = Value::table();
  assign(*std::get<Value::TablePointer>(table.data), "type", {std::string("shared-head"), ""});
  Options options(table, "fusion");
  const auto build = read_fusion(options);
  EXPECT_THROW(build({{"a", "b"}, {4, 5}, 3}), RecipeError);
}

TEST(Fusion, FusionsForTwoSaySo) {
  for (const char* type : {"film", "gated"}) {
    try {
      make_fusion(type, 3);
      FAIL() << type;
    } catch (const RecipeError& error) {
      EXPECT_NE(
          std::string(error.what()).find("at most two modalities, got 3 (audio, image, text)"),
          std::string::npos)
          << error.what();
    }
  }
}

TEST(Fusion, GatedRefusesAModalityNamedAsItsOutput) {
  EXPECT_THROW(GatedFusion({{"audio", "out"}, {4, 4}, 3}), RecipeError);
}

TEST(Fusion, FilmRefusesFeaturesOfTwoSizes) {
  Value table = Value::table();
  assign(*std::get<Value::TablePointer>(table.data), "type", {std::string("film"), ""});
  Options options(table, "fusion");
  const auto build = read_fusion(options);
  EXPECT_THROW(build({{"a", "b"}, {4, 5}, 3}), RecipeError);
}

TEST(Fusion, ParameterNamesAreThoseOfTheContract) {
  const auto names = [](const std::string& type) {
    return make_fusion(type, 2)->named_parameters().keys();
  };
  using Names = std::vector<std::string>;
  EXPECT_EQ(names("concat"), (Names{"fc_out.weight", "fc_out.bias"}));
  EXPECT_EQ(names("sum"),
            (Names{"fc_audio.weight", "fc_audio.bias", "fc_image.weight", "fc_image.bias"}));
  EXPECT_EQ(names("cosine"), (Names{"fc_out.weight"}));
  EXPECT_EQ(names("shared-head"), (Names{"head.weight", "head.bias"}));
  EXPECT_EQ(names("film"), (Names{"fc.weight", "fc.bias", "fc_out.weight", "fc_out.bias"}));
  EXPECT_EQ(names("gated"), (Names{"fc_audio.weight", "fc_audio.bias", "fc_image.weight",
                                   "fc_image.bias", "fc_out.weight", "fc_out.bias"}));
}

}  // namespace
}  // namespace unbraid
