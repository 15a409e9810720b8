#pragma once

#include "unbraid/methods/epoch_window.h"
#include "unbraid/methods/method.h"

namespace unbraid {

struct AgmOptions {
  double alpha = 1.5;
  double cap = 10;
  EpochWindow window{.starts = 0, .ends = 1500};
};

/// Adaptive gradient modulation (Li, Li, Hu, Lei, Li & Zhou, "Boosting Multi-modal Model
/// Performance with Adaptive Gradient Modulation", ICCV 2023). The output is split into Shapley
/// values over the M modalities, m_k = sum over coalitions S without k of
/// |S|! (M - |S| - 1)! / M! (F(S + k) - F(S)), F of nobody being 0. With s_k the cross-entropy of
/// m_k and S_k its mean over the steps before,
///
///     r_k = exp(M / (M - 1) (mean s - s_k)),    R_k the same of S
///     kappa_k = exp(alpha * min(R_k - r_k, cap))
///
/// and the gradient of the loss at m_k is multiplied by kappa_k: a modality that is further ahead
/// than usual is slowed. Encoders and fusion module learn from it. `alpha` 1.5, `cap` 10, in the
/// epochs `starts` to `ends`, counted from 0, both included (0, 1500): the authors' CREMA-D values.
///
/// Departs from the released code: a modality outside a coalition is absent, where the code fills
/// its input with zeros, so that encoders run once and the fusion 2^M - 1 times, M being 2 to 6; of
/// these passes the full one alone updates running statistics; at the first step, which has no mean
/// to compare with, every kappa is 1; gradients are clipped by `train.clip_norm` alone.
class Agm : public Method {
 public:
  Agm(const AgmOptions& options, size_t modalities);

  [[nodiscard]] std::string name() const override { return "agm"; }
  [[nodiscard]] GradientRoute route() const override { return GradientRoute::joint(); }
  RoutedResult backward(const TrainingStep& step) override;
  /// "kappa.<modality>".
  [[nodiscard]] std::map<std::string, double> choices() const override { return choices_; }
  /// "scores" and "steps" [M] double: S_k, and of how many steps.
  [[nodiscard]] NamedTensors state() const override;
  void load_state(const NamedTensors& state) override;

  /// kappa of each modality for its score now and the mean of those before; 1 where either is NaN.
  static std::vector<double> coefficients(const std::vector<double>& scores,
                                          const std::vector<double>& means, double alpha,
                                          double cap);

  static std::shared_ptr<Method> read(Options& options, const MethodContext& context);

 private:
  void remember(const std::vector<double>& scores);

  AgmOptions options_;
  std::vector<double> means_;  // S_k; NaN before the first step
  std::vector<double> steps_;  // of which it is the mean
  std::map<std::string, double> choices_;
};

}  // namespace unbraid
