#pragma once

#include <algorithm>
#include <cmath>
#include <functional>

#include <gtest/gtest.h>

#include "unbraid/core/torch.h"

namespace unbraid::testing {

/// Compares the gradient of `loss` by some `elements` of `variable` with central differences.
inline void expect_finite_differences(torch::Tensor& variable,
                                      const std::function<torch::Tensor()>& loss,
                                      int64_t elements = 16) {
  const auto gradient = torch::autograd::grad({loss()}, {variable}, {}, false, false, true).front();
  const torch::NoGradGuard no_grad;
  constexpr double kStep = 1e-6;
  auto values = variable.view(-1);
  for (int64_t i = 0; i < values.numel(); i += 1 + values.numel() / elements) {
    const double before = values[i].item<double>();
    values[i] = before + kStep;
    const double above = loss().item<double>();
    values[i] = before - kStep;
    const double below = loss().item<double>();
    values[i] = before;
    const double expected = (above - below) / (2 * kStep);
    const double actual = gradient.defined() ? gradient.reshape(-1)[i].item<double>() : 0.0;
    EXPECT_NEAR(actual, expected, 1e-6 * std::max(1.0, std::abs(expected)));
  }
}

}  // namespace unbraid::testing
