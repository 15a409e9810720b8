#pragma once

#include "unbraid/methods/method.h"

namespace unbraid {

struct UmtOptions {
  std::vector<std::string> teachers;  // by modality: a run's folder or a safetensors file; "": none
  double scaling = 10.0;
  GradientRoute base = GradientRoute::joint();
};

/// Unimodal teachers (Du, Teng, Li, Liu, Yuan, Wang, Yuan & Zhao, "On Uni-Modal Feature Learning in
/// Supervised Multi-Modal Learning", ICML 2023): beside the loss of `base`, each encoder learns
/// from
///
///     scaling * mean((t_m - z_m)^2)
///
/// with z_m its feature and t_m that of the encoder with the weights of a run that was trained
/// before, such as one of the method unimodal. `scaling` (10) is BalanceMM's. A teacher is in eval
/// mode, where BalanceMM's normalise by the batch, and teaches in every epoch, where they end after
/// the 80th. `base = "dgl"` adds teachers to disentangled
/// training.
///
/// A teacher has the architecture of the encoder: it is the encoder, run with other weights.
class Umt : public Method {
 public:
  explicit Umt(UmtOptions options) : options_(std::move(options)) {}

  [[nodiscard]] std::string name() const override { return "umt"; }
  [[nodiscard]] GradientRoute route() const override { return options_.base; }
  /// Reads the teachers before the first epoch. Throws StorageError naming the file, and the tensor
  /// that is missing or has another shape.
  void begin_epoch(const EpochStart& start) override;
  /// The result's losses are those of `base`.
  RoutedResult backward(const TrainingStep& step) override;
  /// "distance.<modality>", the mean of the squares.
  [[nodiscard]] std::map<std::string, double> choices() const override { return choices_; }

  static std::shared_ptr<Method> read(Options& options, const MethodContext& context);

 private:
  UmtOptions options_;
  std::vector<std::vector<torch::Tensor>> weights_;  // by modality: those of its teacher, in order
  std::map<std::string, double> choices_;
};

}  // namespace unbraid
