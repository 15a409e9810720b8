#pragma once

#include "unbraid/methods/epoch_window.h"
#include "unbraid/methods/method.h"

namespace unbraid {

struct PmrOptions {
  double alpha = 1.0;
  double momentum = 0.0;
  double share = 0.1;
  EpochWindow window{.starts = 0, .ends = 70};
  bool constant = false;  // the released coefficient
  double entropy = 0.0;
  int64_t entropy_epochs = 10;
  GradientRoute base = GradientRoute::joint();
};

/// Prototypical modality rebalance (Fan, Xu, Wang, Wang & Guo, "PMR: Prototypical Modal
/// Rebalance for Multimodal Learning", CVPR 2023). Before each epoch the prototypes P_m,c of
/// modality m are the means of the features of class c over the first `share` (0.1) of the shuffled
/// training batches, as far as there is one from before (1 - momentum) times that plus `momentum`
/// (0) times the old. With the logits -|f_m - P_m,c| over the classes c, s_m the mean probability
/// of the true class, and rho_m the mean of s_n / s_m over the other modalities n, encoder m learns
/// from alpha * beta_m times the cross-entropy of these logits as well,
///
///     beta_m = clip(rho_m - 1, 0, 1)
///
/// so that the weaker one is pushed towards its prototypes. `coefficient = "constant"` is the
/// released code's: beta_m is 1 where rho_m > 1, else 0. `alpha` 1 as released (its scripts: 0.1 to
/// 5, on CREMA-D 2 and 3), in the epochs `starts` to `ends`, counted from 0, both included (0, 70).
///
/// Tokens and maps count as their mean. Classes without a sample so far have no prototype: they are
/// left out of the softmax, and samples of them out of score and loss; so are missing modalities.
/// Any fusion and number of modalities from two; `base = "dgl"` adds to disentangled gradients
/// instead of joint ones.
///
/// The paper also holds the stronger modality back in early epochs by the entropy H of these
/// probabilities: `entropy` (mu) times gamma_m H_m is taken from the loss of encoder m in the first
/// `entropy_epochs`, where gamma_m = clip(sigma_m - 1, 0, 1) for the mean sigma_m of s_m / s_n,
/// which of two modalities is the beta of the other. The released code has no such term, so
/// `entropy` is 0; 10 epochs are our choice.
class Pmr : public Method {
 public:
  Pmr(const PmrOptions& options, std::vector<std::string> modalities, int64_t classes);

  [[nodiscard]] std::string name() const override { return "pmr"; }
  [[nodiscard]] GradientRoute route() const override { return options_.base; }
  void begin_epoch(const EpochStart& start) override;
  RoutedResult backward(const TrainingStep& step) override;
  /// "beta.<modality>" and "score.<modality>", s; "gamma.<modality>" while there is an entropy
  /// term.
  [[nodiscard]] std::map<std::string, double> choices() const override { return choices_; }
  /// "prototypes.<modality>" [C, d] float and "known.<modality>" [C] bool.
  [[nodiscard]] NamedTensors state() const override;
  void load_state(const NamedTensors& state) override;

  /// beta of each modality for its score; NaN: it has none, and gets 0.
  static std::vector<double> coefficients(const std::vector<double>& scores, bool constant);
  /// gamma of each modality, likewise.
  static std::vector<double> dominances(const std::vector<double>& scores, bool constant);

  static std::shared_ptr<Method> read(Options& options, const MethodContext& context);

 private:
  struct Prototypes {
    torch::Tensor means;  // [C, d] float; undefined: none yet
    torch::Tensor known;  // [C] bool
  };

  void update(Prototypes& old, const Prototypes& seen) const;
  [[nodiscard]] bool has_entropy(int64_t epoch) const;
  ModalityTensors rule(const TrainingStep& step, const ModalityTensors& features,
                       const FeatureGradients& gradients);

  PmrOptions options_;
  std::vector<std::string> modalities_;
  int64_t classes_;
  std::vector<Prototypes> prototypes_;
  std::map<std::string, double> choices_;
};

}  // namespace unbraid
