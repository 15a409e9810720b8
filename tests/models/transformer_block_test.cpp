#include "unbraid/models/transformer_block.h"

#include <gtest/gtest.h>

#include <cmath>

#include "unbraid/core/autocast.h"

namespace unbraid {
namespace {

using torch::Tensor;
using Row = std::vector<double>;

constexpr int64_t kWidth = 6;
constexpr int64_t kHeads = 2;
constexpr int64_t kBatch = 3;
constexpr int64_t kTokens = 4;

TransformerBlock random_block(double dropout = 0) {
  TransformerBlock block(TransformerBlockOptions{kWidth, kHeads, dropout});
  block->to(torch::kDouble);
  const torch::NoGradGuard no_grad;
  torch::manual_seed(3);
  for (Tensor& parameter : block->parameters()) {
    parameter.normal_(0, 0.5);
  }
  return block;
}

Tensor random_tokens() {
  torch::manual_seed(4);
  return torch::randn({kBatch, kTokens, kWidth}, torch::kDouble);
}

/// The last token of the first sample and all of the last sample are left out.
Tensor example_mask() {
  Tensor mask = torch::ones({kBatch, kTokens}, torch::kBool);
  mask[0][kTokens - 1] = false;
  mask[kBatch - 1].zero_();
  return mask;
}

/// The block for one sample, by the formulas of the papers with loops over single numbers.
class ByHand {
 public:
  explicit ByHand(const TransformerBlock& block) : parameters_(block->named_parameters()) {}

  [[nodiscard]] std::vector<Row> operator()(std::vector<Row> x, const std::vector<bool>& keep) {
    std::vector<Row> qkv;
    for (const Row& token : x) {
      qkv.push_back(linear(norm(token, "norm1"), "attn.qkv"));
    }
    for (size_t i = 0; i < x.size(); ++i) {
      add(x[i], linear(attend(qkv, i, keep), "attn.proj"));
      Row hidden = linear(norm(x[i], "norm2"), "mlp.fc1");
      for (double& value : hidden) {
        value *= 0.5 * (1 + std::erf(value / std::sqrt(2.0)));
      }
      add(x[i], linear(hidden, "mlp.fc2"));
    }
    return x;
  }

 private:
  static void add(Row& to, const Row& what) {
    for (size_t i = 0; i < to.size(); ++i) {
      to[i] += what[i];
    }
  }

  [[nodiscard]] double parameter(const std::string& name, size_t row) const {
    return parameters_[name][static_cast<int64_t>(row)].item<double>();
  }

  [[nodiscard]] Row linear(const Row& x, const std::string& name) const {
    const Tensor weight = parameters_[name + ".weight"].detach();
    Row result;
    for (int64_t row = 0; row < weight.size(0); ++row) {
      double sum = parameter(name + ".bias", static_cast<size_t>(row));
      for (size_t i = 0; i < x.size(); ++i) {
        sum += weight[row][static_cast<int64_t>(i)].item<double>() * x[i];
      }
      result.push_back(sum);
    }
    return result;
  }

  [[nodiscard]] Row norm(Row x, const std::string& name) const {
    double mean = 0;
    double variance = 0;
    for (const double value : x) {
      mean += value / kWidth;
    }
    for (const double value : x) {
      variance += (value - mean) * (value - mean) / kWidth;
    }
    for (size_t i = 0; i < x.size(); ++i) {
      x[i] = (x[i] - mean) / std::sqrt(variance + 1e-6) * parameter(name + ".weight", i) +
             parameter(name + ".bias", i);
    }
    return x;
  }

  /// What token i attends to, heads side by side; `qkv` holds for each token the queries of all
  /// heads, then the keys, then the values.
  static Row attend(const std::vector<Row>& qkv, size_t i, const std::vector<bool>& keep) {
    constexpr size_t kHeadWidth = kWidth / kHeads;
    Row mixed(kWidth, 0.0);
    for (size_t head = 0; head < kHeads; ++head) {
      Row weights;
      double total = 0;
      for (size_t j = 0; j < qkv.size(); ++j) {
        double product = 0;
        for (size_t k = head * kHeadWidth; k < (head + 1) * kHeadWidth; ++k) {
          product += qkv[i][k] * qkv[j][kWidth + k];
        }
        weights.push_back(keep[j] ? std::exp(product / std::sqrt(double{kHeadWidth})) : 0);
        total += weights.back();
      }
      for (size_t j = 0; j < qkv.size() && total > 0; ++j) {
        for (size_t k = head * kHeadWidth; k < (head + 1) * kHeadWidth; ++k) {
          mixed[k] += weights[j] / total * qkv[j][2 * kWidth + k];
        }
      }
    }
    return mixed;
  }

  torch::OrderedDict<std::string, Tensor> parameters_;
};

Tensor by_hand(const TransformerBlock& block, const Tensor& x, const Tensor& mask) {
  Tensor expected = torch::zeros_like(x);
  for (int64_t b = 0; b < x.size(0); ++b) {
    std::vector<Row> tokens;
    std::vector<bool> keep;
    for (int64_t t = 0; t < x.size(1); ++t) {
      const Tensor token = x[b][t].contiguous();
      tokens.emplace_back(token.data_ptr<double>(), token.data_ptr<double>() + token.numel());
      keep.push_back(!mask.defined() || mask[b][t].item<bool>());
    }
    tokens = ByHand(block)(tokens, keep);
    for (int64_t t = 0; t < x.size(1); ++t) {
      expected[b][t] = torch::tensor(tokens[static_cast<size_t>(t)], torch::kDouble);
    }
  }
  return expected;
}

TEST(TransformerBlock, HasTimmsNamesAndShapes) {
  TransformerBlock block(TransformerBlockOptions{8, 2, 0.0});
  const auto p = block->named_parameters();
  EXPECT_EQ(p.keys(), (std::vector<std::string>{
                          "norm1.weight", "norm1.bias", "attn.qkv.weight", "attn.qkv.bias",
                          "attn.proj.weight", "attn.proj.bias", "norm2.weight", "norm2.bias",
                          "mlp.fc1.weight", "mlp.fc1.bias", "mlp.fc2.weight", "mlp.fc2.bias"}));
  EXPECT_EQ(p["attn.qkv.weight"].sizes(), (std::vector<int64_t>{24, 8}));
  EXPECT_EQ(p["mlp.fc1.weight"].sizes(), (std::vector<int64_t>{32, 8}));
}

TEST(TransformerBlock, ComputesTheFormulasOfThePapers) {
  TransformerBlock block = random_block();
  const Tensor x = random_tokens();
  const torch::NoGradGuard no_grad;
  EXPECT_TRUE(torch::allclose(block(x), by_hand(block, x, {}), 1e-9, 1e-9));
  EXPECT_TRUE(torch::allclose(block(x, example_mask()), by_hand(block, x, example_mask())));
}

TEST(TransformerBlock, WhatIsMaskedReachesNoOtherToken) {
  TransformerBlock block = random_block();
  Tensor x = random_tokens().requires_grad_();
  const Tensor output = block(x, example_mask());
  const Tensor gradient =
      torch::autograd::grad({output.slice(1, 0, kTokens - 1).sum()}, {x}).front();
  EXPECT_TRUE(torch::equal(gradient[0][kTokens - 1], torch::zeros({kWidth}, torch::kDouble)));
  EXPECT_TRUE(gradient.isfinite().all().item<bool>());
}

TEST(TransformerBlock, GradientsAreFiniteDifferences) {
  TransformerBlock block = random_block();
  std::vector<Tensor> variables = block->parameters();
  variables.push_back(random_tokens().requires_grad_());
  for (const Tensor& mask : {Tensor(), example_mask()}) {
    const auto loss = [&] { return block(variables.back(), mask).sin().sum(); };
    const auto gradients = torch::autograd::grad({loss()}, variables);
    const torch::NoGradGuard no_grad;
    constexpr double kStep = 1e-6;
    for (size_t v = 0; v < variables.size(); ++v) {
      Tensor values = variables[v].view(-1);
      for (int64_t i = 0; i < values.numel(); i += 1 + values.numel() / 8) {
        const double before = values[i].item<double>();
        values[i] = before + kStep;
        const double above = loss().item<double>();
        values[i] = before - kStep;
        const double below = loss().item<double>();
        values[i] = before;
        EXPECT_NEAR(gradients[v].reshape(-1)[i].item<double>(), (above - below) / (2 * kStep), 1e-6)
            << v;
      }
    }
  }
}

TEST(TransformerBlock, TheFirstTokensAloneAreThoseOfAll) {
  TransformerBlocks blocks(2, TransformerBlockOptions{kWidth, kHeads, 0.0});
  blocks->to(torch::kDouble);
  const Tensor x = random_tokens().requires_grad_();
  std::vector<Tensor> variables = blocks->parameters();
  variables.push_back(x);
  for (const Tensor& mask : {Tensor(), example_mask()}) {
    for (int64_t first = 1; first <= kTokens; ++first) {
      const Tensor some = blocks(x, mask, first);
      const Tensor all = blocks(x, mask).narrow(1, 0, first);
      EXPECT_TRUE(torch::allclose(some, all, 1e-10, 1e-12)) << first;
      const auto expected = torch::autograd::grad({all.sin().sum()}, variables);
      const auto actual = torch::autograd::grad({some.sin().sum()}, variables);
      for (size_t i = 0; i < variables.size(); ++i) {
        EXPECT_TRUE(torch::allclose(actual[i], expected[i], 1e-9, 1e-12)) << first << ", " << i;
      }
    }
  }
}

TEST(TransformerBlock, DropsOutInTrainingAlone) {
  TransformerBlock plain = random_block();
  TransformerBlock block = random_block(0.5);
  const Tensor x = random_tokens();
  const torch::NoGradGuard no_grad;
  torch::manual_seed(1);
  EXPECT_FALSE(torch::allclose(block(x), plain(x)));
  block->eval();
  EXPECT_TRUE(torch::equal(block(x), plain(x)));
  TransformerBlock all(TransformerBlockOptions{kWidth, kHeads, 1.0});
  EXPECT_TRUE(torch::equal(all(x.to(torch::kFloat)), x.to(torch::kFloat)));
}

TEST(TransformerBlock, RunsUnderAutocastAndInBFloat16) {
  TransformerBlock block = random_block();
  const Tensor x = random_tokens();
  const torch::NoGradGuard no_grad;
  const Tensor expected = block(x, example_mask());
  block->to(torch::kFloat);
  {
    const AutocastGuard autocast(torch::kCPU, true);
    const Tensor actual = block(x.to(torch::kFloat), example_mask());
    EXPECT_EQ(actual.scalar_type(), torch::kFloat);
    EXPECT_TRUE(torch::allclose(actual.to(torch::kDouble), expected, 0.05, 0.1));
  }
  block->to(torch::kBFloat16);
  const Tensor actual = block(x.to(torch::kBFloat16), example_mask());
  EXPECT_EQ(actual.scalar_type(), torch::kBFloat16);
  EXPECT_TRUE(torch::allclose(actual.to(torch::kDouble), expected, 0.1, 0.2));
}

TEST(TransformerBlock, RefusesOtherShapes) {
  TransformerBlock block = random_block();
  const Tensor x = random_tokens();
  EXPECT_THROW(block(torch::randn({2, 3, kWidth + 1}, torch::kDouble)), c10::Error);
  EXPECT_THROW(block(torch::randn({2, kWidth}, torch::kDouble)), c10::Error);
  EXPECT_THROW(block(x, torch::ones({kBatch, kTokens + 1}, torch::kBool)), c10::Error);
  EXPECT_THROW(block(x, torch::ones({kBatch, kTokens})), c10::Error);
  EXPECT_THROW(TransformerBlock(TransformerBlockOptions{6, 4, 0.0}), c10::Error);
}

}  // namespace
}  // namespace unbraid
