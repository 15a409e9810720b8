#pragma once

#include "unbraid/methods/method.h"

namespace unbraid {

/// Gradient blending (Wang, Tran & Feiszli, "What Makes Training Multi-modal Classification
/// Networks Hard?", CVPR 2020), online. Everything learns from
///
///     sum_m w_m L_m + w_fused L
///
/// with L_m the unimodal losses and L the multimodal one. Before every `super_epoch` epochs (10)
/// the weights are chosen anew: for each k, the modalities and the fused output, the model is
/// trained for as many epochs, or as many as are left, on the loss of k alone, and then put back.
/// With V_k and T_k the loss of k, a mean over the samples, on val and on train,
///
///     G_k = V_k before - V_k after,    O_k = (V_k - T_k) after - (V_k - T_k) before,
///     w_k = |G_k / O_k^2| / sum_j |G_j / O_j^2|
///
/// so that a branch counts by what it generalises for what it overfits. It costs M + 1 epochs more
/// for each of training. With a `super_epoch` of all epochs it is the paper's offline variant, but
/// for weights that it does not train from the start with again. `super_epoch` is BalanceMM's.
///
/// Departs from the paper: L_m is the loss of the same fusion module with the other features
/// absent, where the paper has a head for each modality; V is of val, which chooses the best epoch
/// too, where the paper keeps back a part of train; T and V are taken in eval mode, without
/// augmentation; |O_k| counts as 1e-4 at least (as in MultiBench), where every G_k is 0 all weights
/// are equal, and a modality that val or train lacks has weight 0. BalanceMM compares sums of batch
/// losses of train in training mode with those of test. Any task, fusion and number of modalities
/// from two.
class GBlending : public Method {
 public:
  GBlending(int64_t super_epoch, std::vector<std::string> modalities);

  [[nodiscard]] std::string name() const override { return "g-blending"; }
  /// By the weights there are; before the first estimate by equal ones.
  [[nodiscard]] GradientRoute route() const override;
  /// Throws StorageError where it has to know the weights of the epochs before and does not.
  void begin_epoch(const EpochStart& start) override;
  /// "weight.<modality>" and "weight.fused"; in epochs that it chose them before also "gain.…", G,
  /// and "overfitting.…", O.
  [[nodiscard]] std::map<std::string, double> choices() const override { return choices_; }
  /// "weights" [M + 1] double, that of the fused output last.
  [[nodiscard]] NamedTensors state() const override;
  void load_state(const NamedTensors& state) override;

  /// w for G and O of each; what is not finite has none, and gets 0.
  static std::vector<double> weights(const std::vector<double>& gains,
                                     const std::vector<double>& growths);

  static std::shared_ptr<Method> read(Options& options, const MethodContext& context);

 private:
  void estimate(const EpochStart& start);
  /// Of a modality, or of the fused output.
  [[nodiscard]] std::string name_of(size_t part) const;

  int64_t super_epoch_;
  std::vector<std::string> modalities_;
  std::vector<double> weights_;
  bool known_ = false;  // whether the weights were ever chosen
  std::map<std::string, double> choices_;
};

}  // namespace unbraid
