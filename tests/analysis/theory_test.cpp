// The formulas of docs/theory.md: each numbered one has the test of its number, on random cases in
// double precision.
#include <cmath>
#include <functional>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "temporary_folder.h"
#include "unbraid/analysis/gradient_probe.h"
#include "unbraid/models/fusions/concat.h"
#include "unbraid/models/fusions/film.h"
#include "unbraid/models/fusions/gated.h"
#include "unbraid/models/fusions/sum.h"
#include "unbraid/models/multimodal_model.h"
#include "unbraid/routing/routed_backward.h"
#include "unbraid/tasks/classification.h"
#include "unbraid/tasks/multilabel.h"
#include "unbraid/tasks/regression.h"

namespace unbraid {
namespace {

using torch::Tensor;

constexpr int64_t kFeature = 6;
constexpr int kCases = 200;
constexpr double kTiny = 1e-12;  // for what rounding does to an inequality

double number(const Tensor& value) { return value.item<double>(); }
double length(const Tensor& value) { return number(value.norm()); }
double cosine(const Tensor& a, const Tensor& b) { return number(a.dot(b)) / length(a) / length(b); }

/// One sample, a fusion of three modalities with random parameters, and what follows from them.
struct Case {
  int64_t classes;
  int64_t y;
  size_t m;
  std::vector<Tensor> z;  // leaves
  std::shared_ptr<Fusion> fusion;
  Tensor s, s_alone;  // logits [C], with their graphs
  Tensor p, p_alone;  // [C]
  Tensor e;           // e_y
  Tensor r, r_alone;
  Tensor weight;              // W_m
  Tensor g, g_alone;          // measured: dl/dz_m and dl_m/dz_m
  double wrong, wrong_alone;  // 1 - p_y, by the other classes so that nothing cancels

  [[nodiscard]] double ratio() const { return length(g) / length(g_alone); }
  [[nodiscard]] double wrong_ratio() const { return wrong / wrong_alone; }
  [[nodiscard]] double k() const {
    const auto count = static_cast<double>(classes);
    return std::sqrt(2 * (count - 1) / count);
  }
  /// Of W_m' on vectors whose sum is 0: the largest and the least.
  [[nodiscard]] std::pair<double, double> singular_values() const {
    const Tensor centred = torch::eye(classes, torch::kDouble) - 1.0 / static_cast<double>(classes);
    const Tensor values = torch::linalg_svdvals(centred.matmul(weight));  // in descending order
    return {number(values[0]), number(values[classes - 2])};
  }
};

Tensor cross_entropy(const Tensor& logits, int64_t y) { return -logits.log_softmax(0)[y]; }

Tensor alone_of(Fusion& fusion, const std::vector<Tensor>& z, size_t m) {
  ModalityTensors only(z.size());
  only[m] = z[m].unsqueeze(0);
  return fusion.forward(only)[0];
}

Case make_case(int seed, const std::string& type = "concat", int64_t classes = 0) {
  torch::manual_seed(seed);
  Case c{};
  c.classes = classes > 0 ? classes : 2 + seed % 4;
  c.y = seed % c.classes;
  c.m = static_cast<size_t>(seed % 3);
  const FusionShape shape{{"a", "b", "c"}, {kFeature, kFeature, kFeature}, c.classes};
  if (type == "concat") {
    c.fusion = std::make_shared<ConcatFusion>(shape);
  } else {
    c.fusion = std::make_shared<SumFusion>(shape);
  }
  c.fusion->to(torch::kDouble);
  {
    const torch::NoGradGuard no_grad;
    for (Tensor& parameter : c.fusion->parameters()) {
      parameter.normal_(0, 0.2 + 0.1 * (seed % 10));
    }
  }
  ModalityTensors features;
  for (int i = 0; i < 3; ++i) {
    c.z.push_back(torch::randn({kFeature}, torch::kDouble).set_requires_grad(true));
    features.push_back(c.z.back().unsqueeze(0));
  }
  c.s = c.fusion->forward(features)[0];
  c.s_alone = alone_of(*c.fusion, c.z, c.m);
  c.p = c.s.detach().softmax(0);
  c.p_alone = c.s_alone.detach().softmax(0);
  c.e = torch::zeros(c.classes, torch::kDouble);
  c.e[c.y] = 1;
  c.r = c.p - c.e;
  c.r_alone = c.p_alone - c.e;
  c.weight = linear_weight(*c.fusion, c.m).detach();
  c.wrong = number((c.p * (1 - c.e)).sum());
  c.wrong_alone = number((c.p_alone * (1 - c.e)).sum());
  c.g = torch::autograd::grad({cross_entropy(c.s, c.y)}, {c.z[c.m]}, {}, true)[0];
  c.g_alone = torch::autograd::grad({cross_entropy(c.s_alone, c.y)}, {c.z[c.m]}, {}, true)[0];
  return c;
}

void for_each_case(const std::function<void(const Case&)>& check, int64_t classes = 0) {
  for (const char* type : {"concat", "sum"}) {
    for (int seed = 0; seed < kCases; ++seed) {
      SCOPED_TRACE(fmt::format("{} {}", type, seed));
      check(make_case(seed, type, classes));
    }
  }
}

void expect_equal(const Tensor& found, const Tensor& expected) {
  EXPECT_TRUE(torch::allclose(found, expected, 1e-9, 1e-12)) << found << "\n" << expected;
}

void expect_close(double found, double expected) {
  EXPECT_NEAR(found, expected, 1e-9 * (1 + std::abs(expected)));
}

TEST(Theory, Equations1And2LogitsOfConcat) {
  for (int seed = 0; seed < 20; ++seed) {
    const Case c = make_case(seed, "concat");
    const Tensor w = c.fusion->named_parameters()["fc_out.weight"];
    const Tensor b = c.fusion->named_parameters()["fc_out.bias"];
    expect_equal(c.s, w.matmul(torch::cat(c.z)) + b);
    Tensor sum = b;
    for (size_t k = 0; k < c.z.size(); ++k) {
      sum = sum + linear_weight(*c.fusion, k).matmul(c.z[k]);
    }
    expect_equal(c.s, sum);
    expect_equal(c.s_alone, c.weight.matmul(c.z[c.m]) + b);
  }
}

TEST(Theory, Equation3LogitsOfSum) {
  for (int seed = 0; seed < 20; ++seed) {
    const Case c = make_case(seed, "sum");
    std::vector<Tensor> branches;
    for (const char* name : {"a", "b", "c"}) {
      const auto parameters = c.fusion->named_parameters();
      const std::string branch = std::string("fc_") + name;
      branches.push_back(parameters[branch + ".weight"].matmul(c.z[branches.size()]) +
                         parameters[branch + ".bias"]);
    }
    expect_equal(c.s, branches[0] + branches[1] + branches[2]);
    expect_equal(c.s_alone, branches[c.m]);
  }
}

TEST(Theory, Equations4And5GradientsAtTheFeature) {
  for_each_case([](const Case& c) {
    expect_equal(torch::autograd::grad({cross_entropy(c.s, c.y)}, {c.s}, {}, true)[0], c.r);
    expect_equal(c.g, c.weight.t().matmul(c.p - c.e));
    expect_equal(c.g_alone, c.weight.t().matmul(c.p_alone - c.e));
  });
}

TEST(Theory, Equation6GradientsOfTheEncoder) {
  const Case c = make_case(3);
  const Tensor x = torch::randn({4}, torch::kDouble);
  const Tensor theta = torch::randn({kFeature, 4}, torch::kDouble).set_requires_grad(true);
  std::vector<Tensor> z = c.z;
  z[c.m] = torch::tanh(theta.matmul(x));
  ModalityTensors features;
  for (const Tensor& feature : z) {
    features.push_back(feature.unsqueeze(0));
  }
  const Tensor s = c.fusion->forward(features)[0];
  const Tensor s_alone = alone_of(*c.fusion, z, c.m);
  // J_m: the derivative of z_m by theta, [d, 4 d].
  std::vector<Tensor> rows;
  for (int64_t i = 0; i < kFeature; ++i) {
    rows.push_back(torch::autograd::grad({z[c.m][i]}, {theta}, {}, true)[0].flatten());
  }
  const Tensor jacobian = torch::stack(rows);
  for (const Tensor& logits : {s, s_alone}) {
    const Tensor residual = logits.detach().softmax(0) - c.e;
    expect_equal(
        torch::autograd::grad({cross_entropy(logits, c.y)}, {theta}, {}, true)[0].flatten(),
        jacobian.t().matmul(c.weight.t().matmul(residual)));
  }
}

TEST(Theory, Equation7SumsOfResiduals) {
  for_each_case([](const Case& c) {
    EXPECT_NEAR(number(c.r.sum()), 0, 1e-12);
    expect_close(number(c.r.abs().sum()), 2 * c.wrong);
  });
}

TEST(Theory, Equation8LengthOfAResidual) {
  for_each_case([](const Case& c) {
    const auto count = static_cast<double>(c.classes);
    EXPECT_GE(length(c.r) + kTiny, std::sqrt(count / (count - 1)) * c.wrong);
    EXPECT_LE(length(c.r), std::sqrt(2.0) * c.wrong + kTiny);
  });
  // Both bounds are met: all wrong classes alike, and one that has it all.
  EXPECT_NEAR(length(torch::tensor({-0.6, 0.2, 0.2, 0.2}, torch::kDouble)),
              std::sqrt(4.0 / 3) * 0.6, 1e-12);
  EXPECT_NEAR(length(torch::tensor({-0.6, 0.6, 0.0, 0.0}, torch::kDouble)), std::sqrt(2.0) * 0.6,
              1e-12);
}

TEST(Theory, Equation9RatioOfResiduals) {
  for_each_case([](const Case& c) {
    const double found = length(c.r) / length(c.r_alone);
    EXPECT_GE(found * (1 + 1e-9), c.wrong_ratio() / c.k());
    EXPECT_LE(found, c.k() * c.wrong_ratio() * (1 + 1e-9));
  });
}

TEST(Theory, Equation10AngleOfResiduals) {
  double least = 1;
  for_each_case([&](const Case& c) {
    EXPECT_GE(cosine(c.r, c.r_alone), 0.5 - 1e-9);
    least = std::min(least, cosine(c.r, c.r_alone));
  });
  EXPECT_LT(least, 0.6);  // the bound is near what happens
}

TEST(Theory, Equation11TwoClasses) {
  for_each_case(
      [](const Case& c) {
        expect_close(c.ratio(), c.wrong_ratio());
        expect_close(cosine(c.g, c.g_alone), 1);
      },
      2);
}

TEST(Theory, Equation12TwoClassesByMargins) {
  int helped = 0;
  for_each_case(
      [&](const Case& c) {
        const int64_t other = 1 - c.y;
        const double a = number(c.s_alone[c.y] - c.s_alone[other]);
        const double d = number(c.s[c.y] - c.s[other]) - a;
        expect_close(c.ratio(), (1 + std::exp(a)) / (1 + std::exp(a + d)));
        EXPECT_EQ(c.ratio() < 1, d > 0);
        helped += d > 0 ? 1 : 0;
      },
      2);
  EXPECT_GT(helped, kCases / 4);      // both happen
  EXPECT_LT(helped, 7 * kCases / 4);  // of 2 * kCases
}

TEST(Theory, Equation13TheWeakerIsSuppressedMore) {
  for (int seed = 0; seed < kCases; ++seed) {
    const Case c = make_case(seed, "concat", 2);
    std::vector<double> ratios;
    std::vector<double> wrong;
    for (size_t k = 0; k < 2; ++k) {
      const Tensor alone = alone_of(*c.fusion, c.z, k);
      const Tensor fused = torch::autograd::grad({cross_entropy(c.s, c.y)}, {c.z[k]}, {}, true)[0];
      const Tensor by_itself =
          torch::autograd::grad({cross_entropy(alone, c.y)}, {c.z[k]}, {}, true)[0];
      ratios.push_back(length(fused) / length(by_itself));
      wrong.push_back(1 - number(alone.softmax(0)[c.y]));
    }
    EXPECT_NEAR(ratios[0] / ratios[1], wrong[1] / wrong[0], 1e-6 * wrong[1] / wrong[0]);
  }
}

TEST(Theory, Equation14OddsOfBeingWrong) {
  int helped_against_all = 0;
  for_each_case([&](const Case& c) {
    double sum = 0;
    bool all = true;
    for (int64_t other = 0; other < c.classes; ++other) {
      if (other != c.y) {
        const double added = number((c.s[c.y] - c.s[other]) - (c.s_alone[c.y] - c.s_alone[other]));
        sum += number(c.p_alone[other]) / c.wrong_alone * std::exp(-added);
        all = all && added > 0;
      }
    }
    const double odds = c.wrong / number(c.p[c.y]);
    EXPECT_NEAR(odds, c.wrong_alone / number(c.p_alone[c.y]) * sum, 1e-9 * odds);
    EXPECT_EQ(c.wrong < c.wrong_alone, sum < 1);
    if (all) {
      EXPECT_LT(c.wrong, c.wrong_alone);
      ++helped_against_all;
    }
  });
  EXPECT_GT(helped_against_all, kCases / 10);
}

TEST(Theory, Equation15FromResidualsToGradients) {
  for_each_case([](const Case& c) {
    const auto [largest, least] = c.singular_values();
    const double residuals = length(c.r) / length(c.r_alone);
    EXPECT_GE(c.ratio() * (1 + 1e-9), least / largest * residuals);
    EXPECT_LE(c.ratio(), largest / least * residuals * (1 + 1e-9));
  });
}

TEST(Theory, Equation16ASufficientCondition) {
  int met = 0;
  for_each_case([&](const Case& c) {
    const auto [largest, least] = c.singular_values();
    if (c.wrong_ratio() < least / (largest * c.k())) {
      EXPECT_LT(c.ratio(), 1);
      ++met;
    }
  });
  EXPECT_GT(met, kCases / 10);
}

TEST(Theory, Equation17BoundByTheMultimodalLoss) {
  for_each_case([](const Case& c) {
    const double largest = c.singular_values().first;
    const double loss = number(cross_entropy(c.s, c.y));
    const double bound = std::sqrt(2.0) * largest * -std::expm1(-loss);
    EXPECT_LE(length(c.g), bound * (1 + 1e-9));
    EXPECT_LE(bound, std::sqrt(2.0) * largest * loss * (1 + 1e-9));
  });
}

TEST(Theory, Equation18WhatTheUnimodalLossHasAtLeast) {
  for_each_case([](const Case& c) {
    const auto count = static_cast<double>(c.classes);
    const double loss = number(cross_entropy(c.s_alone, c.y));
    EXPECT_GE(length(c.g_alone) * (1 + 1e-9),
              c.singular_values().second * std::sqrt(count / (count - 1)) * -std::expm1(-loss));
  });
}

TEST(Theory, Equation19RatioOverSamples) {
  double fused = 0;
  double alone = 0;
  for (int seed = 0; seed < 50; ++seed) {
    const Case c = make_case(seed);
    fused += length(c.g);
    alone += length(c.g_alone);
  }
  double mean = 0;
  for (int seed = 0; seed < 50; ++seed) {
    const Case c = make_case(seed);
    mean += length(c.g_alone) / alone * c.ratio();
  }
  expect_close(mean, fused / alone);
}

TEST(Theory, Equation20SurerWithALongerResidual) {
  const Tensor alone = torch::tensor({0.50, 0.25, 0.25}, torch::kDouble);
  const Tensor fused = torch::tensor({0.55, 0.45, 0.0}, torch::kDouble);
  const Tensor e = torch::tensor({1.0, 0.0, 0.0}, torch::kDouble);
  EXPECT_GT(number(fused[0]), number(alone[0]));
  expect_close(number((alone - e).square().sum()), 0.375);
  expect_close(number((fused - e).square().sum()), 0.405);
}

TEST(Theory, Equation21WeightsThatStretch) {
  const Tensor w = torch::diag(torch::tensor({1.0, 10.0, 1.0}, torch::kDouble));
  const Tensor e = torch::tensor({1.0, 0.0, 0.0}, torch::kDouble);
  const Tensor alone = torch::tensor({0.2, 0.0, 0.8}, torch::kDouble) - e;
  const Tensor fused = torch::tensor({0.6, 0.4, 0.0}, torch::kDouble) - e;
  expect_close(number(w.t().matmul(alone).square().sum()), 1.28);
  expect_close(number(w.t().matmul(fused).square().sum()), 16.16);
  // And the gradients may be turned against each other.
  double least = 1;
  for_each_case([&](const Case& c) { least = std::min(least, cosine(c.g, c.g_alone)); });
  EXPECT_LT(least, 0);
}

TEST(Theory, Equation22LabelSmoothing) {
  const double eps = 0.2;
  for (const auto& weights : {std::vector<double>(), std::vector<double>{0.5, 2.0, 1.0, 3.0}}) {
    const Classification task({.classes = 4, .label_smoothing = eps, .class_weights = weights});
    for (int seed = 0; seed < 20; ++seed) {
      const Case c = make_case(seed, "concat", 4);
      const Tensor target = torch::tensor({c.y});
      const Tensor measured =
          torch::autograd::grad({task.loss(c.s.unsqueeze(0), target)}, {c.z[c.m]}, {}, true)[0];
      expect_equal(measured, c.weight.t().matmul(task.residuals(c.s.unsqueeze(0), target)[0]));
      if (weights.empty()) {
        const Tensor t = (1 - eps) * c.e + eps / 4;
        expect_equal(measured, c.weight.t().matmul(c.p - t));
        EXPECT_GE(length(c.p - t) + kTiny, std::abs(number(c.p[c.y] - t[c.y])));
      }
    }
  }
}

/// The measured ratio at z_m for a loss of logits, and the two outputs.
double ratio_for(const Case& c, const std::function<Tensor(const Tensor&)>& loss) {
  const Tensor fused = torch::autograd::grad({loss(c.s)}, {c.z[c.m]}, {}, true)[0];
  const Tensor alone = torch::autograd::grad({loss(c.s_alone)}, {c.z[c.m]}, {}, true)[0];
  return length(fused) / length(alone);
}

TEST(Theory, Equations23And24ErrorsOfANumber) {
  const RegressionOptions squared{.targets = 1, .loss = {.type = RegressionLoss::Type::kL2}};
  const RegressionOptions absolute{.targets = 1, .loss = {.type = RegressionLoss::Type::kL1}};
  const Tensor target = torch::full({1, 1}, 0.3, torch::kDouble);
  for_each_case(
      [&](const Case& c) {
        const auto loss_of = [&](const RegressionOptions& options) {
          return [&target, task = Regression(options)](const Tensor& s) {
            return task.loss(s.view({1, 1}), target);
          };
        };
        expect_close(ratio_for(c, loss_of(squared)),
                     std::abs(number(c.s[0]) - 0.3) / std::abs(number(c.s_alone[0]) - 0.3));
        expect_close(ratio_for(c, loss_of(absolute)), 1);
      },
      1);
}

TEST(Theory, Equation25SeveralLabels) {
  for_each_case(
      [](const Case& c) {
        const Multilabel task({.classes = 3});
        const Tensor target = (torch::arange(3) == c.y).to(torch::kFloat);
        for (const Tensor& s : {c.s, c.s_alone}) {
          const Tensor measured = torch::autograd::grad(
              {task.loss(s.unsqueeze(0), target.unsqueeze(0))}, {s}, {}, true)[0];
          expect_equal(measured * 3, torch::sigmoid(s) - target);
        }
        for (int64_t label = 0; label < 3; ++label) {
          const Multilabel one({.classes = 1});
          const double wanted = number(target[label]);
          const double found = ratio_for(c, [&](const Tensor& s) {
            return one.loss(s[label].view({1, 1}), target[label].view({1, 1}));
          });
          EXPECT_NEAR(found,
                      std::abs(number(torch::sigmoid(c.s[label])) - wanted) /
                          std::abs(number(torch::sigmoid(c.s_alone[label])) - wanted),
                      1e-6 * found);
        }
      },
      3);
}

/// A fusion of two modalities with random parameters, its gradients at the first, fused and alone.
struct Pair {
  std::shared_ptr<Fusion> fusion;
  Tensor z1, z2;
  Tensor g, g_alone;
  Tensor r, r_alone;

  explicit Pair(std::shared_ptr<Fusion> built) : fusion(std::move(built)) {
    fusion->to(torch::kDouble);
    const torch::NoGradGuard no_grad;
    for (Tensor& parameter : fusion->parameters()) {
      parameter.normal_(0, 0.5);
    }
    z1 = torch::randn({kFeature}, torch::kDouble);
    z2 = torch::randn({kFeature}, torch::kDouble);
    const torch::AutoGradMode gradients(true);
    z1.set_requires_grad(true);
    const Tensor e = torch::tensor({0.0, 1.0, 0.0}, torch::kDouble);
    const Tensor s = fusion->forward({z1.unsqueeze(0), z2.unsqueeze(0)})[0];
    const Tensor s_alone = fusion->forward({z1.unsqueeze(0), Tensor()})[0];
    g = torch::autograd::grad({cross_entropy(s, 1)}, {z1})[0];
    g_alone = torch::autograd::grad({cross_entropy(s_alone, 1)}, {z1})[0];
    r = s.detach().softmax(0) - e;
    r_alone = s_alone.detach().softmax(0) - e;
  }
  [[nodiscard]] Tensor parameter(const std::string& name) const {
    return fusion->named_parameters()[name].detach();
  }
};

const FusionShape kPairShape{{"a", "b"}, {kFeature, kFeature}, 3};

TEST(Theory, Equation26Gated) {
  for (int seed = 0; seed < 20; ++seed) {
    torch::manual_seed(seed);
    const Pair pair(std::make_shared<GatedFusion>(kPairShape, false));
    const Tensor w1 = pair.parameter("fc_a.weight");
    const Tensor h1 = w1.matmul(pair.z1.detach()) + pair.parameter("fc_a.bias");
    const Tensor h2 = pair.parameter("fc_b.weight").matmul(pair.z2) + pair.parameter("fc_b.bias");
    const Tensor v = pair.parameter("fc_out.weight");
    const Tensor gate = torch::sigmoid(h1);
    const Tensor slope = gate * (1 - gate);
    expect_equal(pair.g, w1.t().matmul(slope * h2 * v.t().matmul(pair.r)));
    expect_equal(pair.g_alone, w1.t().matmul((slope * h1 + gate) * v.t().matmul(pair.r_alone)));
  }
}

TEST(Theory, Equation27Film) {
  for (int seed = 0; seed < 20; ++seed) {
    torch::manual_seed(seed);
    const Pair pair(std::make_shared<FilmFusion>(kPairShape));
    const Tensor forms = pair.parameter("fc_out.weight")
                             .matmul(pair.parameter("fc.weight"))
                             .view({3, kFeature, kFeature});
    Tensor fused = torch::zeros(kFeature, torch::kDouble);
    Tensor alone = torch::zeros(kFeature, torch::kDouble);
    for (int64_t c = 0; c < 3; ++c) {
      fused += pair.r[c] * forms[c].matmul(pair.z2);
      alone += pair.r_alone[c] * (forms[c] + forms[c].t()).matmul(pair.z1.detach());
    }
    expect_equal(pair.g, fused);
    expect_equal(pair.g_alone, alone);
  }
}

/// A model of two linear encoders and a concatenation, for what a route gives each part.
struct Routed {
  MultimodalModel model;
  ModalityTensors inputs;
  ModalityTensors features;
  Tensor r, r_alone;  // of the first modality, [1, 3]

  Routed() {
    torch::manual_seed(5);
    for (const char* name : {"a", "b"}) {
      model->add_encoder(name, torch::nn::Linear(4, kFeature));
      inputs.push_back(torch::randn({1, 4}, torch::kDouble));
    }
    model->set_fusion(std::make_shared<ConcatFusion>(kPairShape));
    model->to(torch::kDouble);
    const torch::NoGradGuard no_grad;
    features = {model->encode(0, inputs[0]), model->encode(1, inputs[1])};
    const Tensor e = torch::tensor({{0.0, 1.0, 0.0}}, torch::kDouble);
    r = model->fuse(features).softmax(1) - e;
    r_alone = model->alone(0, features[0]).softmax(1) - e;
  }
  void run(const GradientRoute& route) {
    routed_backward(
        *model, inputs, [](const Tensor& s) { return cross_entropy(s[0], 1); }, route);
  }
  [[nodiscard]] Tensor gradient(const std::string& name) const {
    return model->named_parameters()[name].grad();
  }
  [[nodiscard]] Tensor weight() const {
    return model->named_parameters()["fusion.fc_out.weight"].detach().narrow(1, 0, kFeature);
  }
  /// J_m' of a linear encoder, for the gradient [1, d] at its feature.
  [[nodiscard]] Tensor encoder_gradient(const Tensor& at_feature) const {
    return at_feature.t().matmul(inputs[0]);
  }
};

TEST(Theory, Equations28And29Dgl) {
  Routed routed;
  routed.run(GradientRoute::dgl(4.0));
  expect_equal(routed.gradient("encoders.a.weight"),
               4.0 * routed.encoder_gradient(routed.r_alone.matmul(routed.weight())));
  expect_equal(routed.gradient("fusion.fc_out.weight"),
               routed.r.t().matmul(torch::cat(routed.features, 1)));
  expect_equal(routed.gradient("fusion.fc_out.bias"), routed.r[0]);
  Routed joint;
  joint.run(GradientRoute::joint());
  expect_equal(routed.gradient("fusion.fc_out.weight"), joint.gradient("fusion.fc_out.weight"));
}

TEST(Theory, Equation30AuxiliaryLosses) {
  Routed routed;
  routed.run(GradientRoute::auxiliary(0.7));
  const Tensor both = routed.r + 0.7 * routed.r_alone;
  expect_equal(routed.gradient("encoders.a.weight"),
               routed.encoder_gradient(both.matmul(routed.weight())));
  expect_equal(routed.gradient("fusion.fc_out.weight").narrow(1, 0, kFeature),
               both.t().matmul(routed.features[0]));
}

TEST(Theory, EachNumberedFormulaHasATest) {
  const std::string folder = UNBRAID_SOURCE_DIR;
  const std::string theory = testing::read_text(folder + "/docs/theory.md");
  std::string tests = testing::read_text(folder + "/tests/analysis/theory_test.cpp");
  int formulas = 0;
  while (theory.find(fmt::format("({})\n", formulas + 1)) != std::string::npos) {
    ++formulas;
    const bool alone = tests.find(fmt::format("Theory, Equation{}", formulas)) != std::string::npos;
    const bool first =
        tests.find(fmt::format("Theory, Equations{}And", formulas)) != std::string::npos;
    const bool second = tests.find(fmt::format("And{}", formulas)) != std::string::npos;
    EXPECT_TRUE(alone || first || second) << formulas;
  }
  EXPECT_EQ(formulas, 30);
}

}  // namespace
}  // namespace unbraid
