#pragma once

#include "unbraid/methods/method.h"

namespace unbraid {

struct RelearningOptions {
  int64_t classes = 0;
  int64_t every = 15;
  int64_t times = 2;
  double strength = 3.0;
  GradientRoute base = GradientRoute::joint();
};

/// Diagnosing and re-learning (Wei, Li, Feng & Hu, "Diagnosing and Re-learning for Balanced
/// Multimodal Learning", ECCV 2024). After `every` (15) epochs, `times` (2) times in all, each
/// encoder goes back towards the weights that it started with:
///
///     theta_m <- w_m theta_m at the start + (1 - w_m) theta_m,
///     w_m = tanh(strength |purity_m(train) - purity_m(val)|)
///
/// with `strength` 3, and purity_m how well as many clusters as there are classes of the features
/// of m, each dimension scaled to 0…1, agree with the labels. Parameters go back; running
/// statistics and the optimizer's momenta stay. It looks at train without augmentation and at val.
///
/// After BalanceMM's version: its defaults, and one run of k-means with k-means++. Tokens and maps
/// are averaged to vectors. `base = "dgl"` relearns in disentangled training instead of joint.
class Relearning : public Method {
 public:
  explicit Relearning(const RelearningOptions& options) : options_(options) {}

  [[nodiscard]] std::string name() const override { return "relearning"; }
  [[nodiscard]] GradientRoute route() const override { return options_.base; }
  /// Throws StorageError where it has to go back and does not know the weights at the start.
  void begin_epoch(const EpochStart& start) override;
  /// In epochs that it went back before: "gap.<modality>", of the purities, and "back.<modality>",
  /// w_m.
  [[nodiscard]] std::map<std::string, double> choices() const override { return choices_; }
  /// The weights at the start, as long as they are needed.
  [[nodiscard]] NamedTensors state() const override { return initial_; }
  void load_state(const NamedTensors& state) override { initial_ = state; }

  /// w_m for a difference of purities.
  [[nodiscard]] double weight(double gap) const;

  static std::shared_ptr<Method> read(Options& options, const MethodContext& context);

 private:
  [[nodiscard]] std::vector<double> purities(const EpochStart& start, bool of_val) const;
  void go_back(torch::nn::Module& encoder, const std::string& prefix, double weight) const;

  RelearningOptions options_;
  NamedTensors initial_;  // trained parameters of the encoders, by the model's names
  std::map<std::string, double> choices_;
};

}  // namespace unbraid
