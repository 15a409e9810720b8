#pragma once

#include "unbraid/methods/epoch_window.h"
#include "unbraid/methods/method.h"

namespace unbraid {

struct OpmOptions {
  double rate = 0.4;
  double alpha = 0.5;
  double probability = 0.7;
  EpochWindow window{.starts = 0, .ends = 80};
};

/// On-the-fly prediction modulation, OPM (Wei, Hu, Du & Wen, "On-the-fly Modulation for Balanced
/// Multimodal Learning", TPAMI 2024): features of the stronger modality are dropped. With s_m as
/// OGM has it and rho_m = s_m / (the sum of the others' s), sample i loses the feature of modality
/// m with the probability
///
///     q_m = rate * (1 + alpha * tanh(rho_m - 1)) where rho_m > 1, else 0; at most 1
///
/// Features that stay are divided by 1 - theta, theta = sum_m d_m q_m / sum_m d_m for features of
/// d_m numbers; samples that lose everything leave the batch. It happens at a step with
/// `probability` (0.7), in the epochs `starts` to `ends`, counted from 0, both included (0, 80);
/// `rate` 0.4, `alpha` 0.5: BalanceBenchmark's values. Other steps are joint training.
///
/// Departs from that code: a dropped feature is absent, where the code makes it zeros, which for a
/// concatenation is the same; any fusion and number of modalities from two; a batch that would lose
/// every sample is trained on as it is.
class Opm : public Method {
 public:
  explicit Opm(const OpmOptions& options) : options_(options) {}

  [[nodiscard]] std::string name() const override { return "opm"; }
  [[nodiscard]] GradientRoute route() const override { return GradientRoute::joint(); }
  RoutedResult backward(const TrainingStep& step) override;
  /// "drop.<modality>", q; of steps that drop.
  [[nodiscard]] std::map<std::string, double> choices() const override { return choices_; }

  /// q of each modality for its score s_m in (0, 1); NaN: it has none, and gets 0.
  static std::vector<double> drop_rates(const std::vector<double>& scores, double rate,
                                        double alpha);

  static std::shared_ptr<Method> read(Options& options, const MethodContext& context);

 private:
  OpmOptions options_;
  std::map<std::string, double> choices_;
};

}  // namespace unbraid
