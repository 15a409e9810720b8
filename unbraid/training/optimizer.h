#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "unbraid/core/options.h"
#include "unbraid/core/safetensors.h"
#include "unbraid/core/torch.h"

namespace unbraid {

/// What the parameters that a pattern matches (training/parameter_patterns.h) have of their own.
struct ParameterGroup {
  std::string pattern;
  double lr_scale = 1;  // times the learning rate, whatever the schedule makes of it
  double weight_decay = 0;
};

struct OptimizerOptions {
  std::string type = "sgd";  // "adam", "adamw"
  double lr = 1e-3;
  double weight_decay = 0;                  // L2 added to the gradient; adamw: decoupled
  double momentum = 0.9;                    // sgd
  bool nesterov = false;                    // sgd
  double beta1 = 0.9;                       // adam, adamw
  double beta2 = 0.999;                     // adam, adamw
  double eps = 1e-8;                        // adam, adamw
  std::vector<ParameterGroup> groups = {};  // a parameter belongs to the first that matches it
};

OptimizerOptions read_optimizer(Options& options);

/// For each of `names` the group that it belongs to, or null. Throws RecipeError that begins with
/// `key` when a group has no parameters.
std::vector<const ParameterGroup*> assign_groups(const std::vector<ParameterGroup>& groups,
                                                 const std::vector<std::string>& names,
                                                 const std::string& key);

/// SGD with momentum, Adam (Kingma & Ba, 2015) and AdamW (Loshchilov & Hutter, 2019), with
/// PyTorch's update rules, each in one pass over a parameter. A parameter whose gradient is
/// undefined is left alone: no decay, no momentum.
class Optimizer {
 public:
  /// Throws what assign_groups throws.
  Optimizer(const OptimizerOptions& options,
            const torch::OrderedDict<std::string, torch::Tensor>& parameters);

  /// One update with the learning rate `lr` and every gradient times `gradient_scale` (clipping).
  void step(double lr, double gradient_scale = 1.0);
  /// Sets every gradient to undefined.
  void zero_grad();

  /// Momenta as `<kind>.<parameter>`, and steps taken as `step.<parameter>`, for a checkpoint.
  [[nodiscard]] NamedTensors state() const;
  /// Throws StorageError unless `state` is of this optimizer and these parameters.
  void load_state(const NamedTensors& state);

 private:
  struct Slot {
    std::string name;
    torch::Tensor parameter;
    double lr_scale = 1;
    double weight_decay = 0;
    torch::Tensor first;   // SGD: momentum; Adam: mean of gradients
    torch::Tensor second;  // Adam: mean of squared gradients
    int64_t steps = 0;
  };

  void update(Slot& slot, double lr, double gradient_scale);
  [[nodiscard]] bool adaptive() const { return options_.type != "sgd"; }

  OptimizerOptions options_;
  std::vector<Slot> slots_;
};

/// L2 norms of the gradients of `module` by part ("encoders.<modality>", "fusion"), undefined ones
/// counting as 0, and of all together under "".
std::map<std::string, double> gradient_norms(const torch::nn::Module& module);

/// The factor that brings a gradient of norm `norm` down to `max_norm`; 1 when it is within, or
/// when `max_norm` is 0. As PyTorch's clip_grad_norm_.
double clip_factor(double norm, double max_norm);

}  // namespace unbraid
