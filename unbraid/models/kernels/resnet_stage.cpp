#include "unbraid/models/kernels/resnet_stage.h"

#include <torch/csrc/autograd/functions/basic_ops.h>
#include <torch/csrc/autograd/functions/utils.h>

#include "unbraid/models/kernels/blocked_convolution.h"
#include "unbraid/models/kernels/blocked_norm.h"

namespace unbraid::kernels {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int kBlocks = 2;
constexpr int64_t kStemStride = 2;
constexpr int kNoUnit = -1;

struct BlockShape {
  int64_t stride;
  int conv1, conv2, downsample;  // units
};

BlockShape block_shape(int stage, int block) {
  if (stage == 0) {
    return block == 0 ? BlockShape{1, 1, 2, kNoUnit} : BlockShape{1, 3, 4, kNoUnit};
  }
  return block == 0 ? BlockShape{2, 0, 1, 2} : BlockShape{1, 3, 4, kNoUnit};
}

// A unit's parameters among the stage's.
enum Parameter { kWeight, kGamma, kBeta, kParametersPerUnit };
constexpr int kParameters = kUnitsPerStage * kParametersPerUnit;

// What is saved: the parameters, then for each block the following, then the result of the last
// block, then for the first stage the stem's.
enum BlockSlot { kIn, kX1, kStatistics1, kX2, kStatistics2, kXr, kStatisticsR, kBlockSlots };
enum StemSlot { kImages, kStem, kStemStatistics, kMaximum, kPosition, kStemSlots };
constexpr size_t kResult = kParameters + kBlocks * kBlockSlots;
constexpr size_t kStemStart = kResult + 1;
constexpr size_t kSlots = kStemStart + kStemSlots;

size_t block_slot(int block, int slot) { return kParameters + block * kBlockSlots + slot; }

class StageForward {
 public:
  /// With `keeps`, saved() afterwards has what StageBackward needs.
  StageForward(const ConvolutionNorm* units, int stage, bool training, bool keeps)
      : units_(units), stage_(stage), training_(training), keeps_(keeps), saved_(kSlots) {}

  Tensor run(const Tensor& input) {
    Tensor x = stage_ == 0 ? run_stem(input) : input;
    for (int block = 0; block < kBlocks; ++block) {
      x = run_block(x, block);
    }
    save(kResult, x);
    return stage_ == kStages - 1 ? average(x) : x;
  }

  [[nodiscard]] const variable_list& saved() const { return saved_; }

 private:
  void save(size_t slot, const Tensor& tensor) {
    if (keeps_) {
      saved_[slot] = tensor;
    }
  }

  Normed unit(const Tensor& x, int number, int64_t stride) {
    const ConvolutionNorm& unit = units_[number];
    return with_statistics(convolve(x, unit.convolution->weight, stride), *unit.norm.ptr(),
                           training_);
  }

  /// Where the activation of x goes: over x if the backward pass does not need it.
  [[nodiscard]] Tensor activation_of(const Normed& x) const {
    return keeps_ ? at::empty_like(x.x) : x.x;
  }

  Tensor run_stem(const Tensor& images) {
    const Normed stem = unit(images, 0, kStemStride);
    const Pooled pooled = norm_relu_pool(stem);
    save(kStemStart + kImages, images);
    save(kStemStart + kStem, stem.x);
    save(kStemStart + kStemStatistics, stem.statistics);
    save(kStemStart + kMaximum, pooled.x_max);
    save(kStemStart + kPosition, pooled.position);
    return pooled.y;
  }

  Normed run_residual(const Tensor& in, int block) {
    const BlockShape shape = block_shape(stage_, block);
    const Normed x1 = unit(in, shape.conv1, shape.stride);
    const Tensor hidden = activation_of(x1);
    norm_relu(x1, hidden);
    const Normed x2 = unit(hidden, shape.conv2, 1);
    save(block_slot(block, kX1), x1.x);
    save(block_slot(block, kStatistics1), x1.statistics);
    save(block_slot(block, kX2), x2.x);
    save(block_slot(block, kStatistics2), x2.statistics);
    return x2;
  }

  Tensor run_block(const Tensor& in, int block) {
    save(block_slot(block, kIn), in);
    const Normed residual = run_residual(in, block);
    Normed shortcut{in, {}};
    if (const int downsample = block_shape(stage_, block).downsample; downsample != kNoUnit) {
      // oneDNN 2.6 runs strided 1x1 convolutions of some odd sizes by slow reference loops in
      // bfloat16, so the stride is taken before.
      shortcut = unit(subsample(in), downsample, 1);
      save(block_slot(block, kXr), shortcut.x);
      save(block_slot(block, kStatisticsR), shortcut.statistics);
    }
    Tensor out = activation_of(residual);
    norm_add_relu(residual, shortcut, out);
    return out;
  }

  const ConvolutionNorm* units_;
  int stage_;
  bool training_;
  bool keeps_;
  variable_list saved_;
};

/// A gradient in up to two parts whose sum it is; the second may be undefined.
struct SplitGradient {
  Tensor first;
  Tensor second;
};

class StageBackward {
 public:
  StageBackward(const AutogradContext& context, int stage, bool training)
      : context_(context),
        stage_(stage),
        training_(training),
        saved_(context.get_saved_variables()),
        gradients_(kFirstParameter + kParameters) {}

  /// Gradients of the input and the parameters.
  variable_list run(const Tensor& gradient) {
    const bool averages = stage_ == kStages - 1;
    SplitGradient dy{averages ? average_backward(gradient, saved_[kResult]) : gradient, {}};
    for (int block = kBlocks - 1; block >= 0; --block) {
      dy = run_block(dy, block);
    }
    if (stage_ == 0) {
      run_stem(dy);
    } else {
      gradients_[kInput] = dy.first;
    }
    return std::move(gradients_);
  }

 private:
  // Inputs of the operator.
  static constexpr int kInput = 0;
  static constexpr int kFirstParameter = 1;

  static int parameter(int unit, Parameter which) { return unit * kParametersPerUnit + which; }
  [[nodiscard]] const Tensor& weight(int unit) const { return saved_[parameter(unit, kWeight)]; }
  [[nodiscard]] bool needs(int unit, Parameter which) const {
    return context_.needs_input_grad(kFirstParameter + parameter(unit, which));
  }

  /// Whether anything before the block needs a gradient.
  [[nodiscard]] bool needs_input_of(int block) const {
    if (block > 0) {
      return true;
    }
    return stage_ > 0 ? context_.needs_input_grad(kInput)
                      : needs(0, kWeight) || needs(0, kGamma) || needs(0, kBeta);
  }

  void set_weight_gradient(int unit, const Tensor& input, const Tensor& gradient, int64_t stride) {
    gradients_[kFirstParameter + parameter(unit, kWeight)] =
        convolve_backward_weight(input, gradient, weight(unit), stride);
  }

  void set_norm_gradients(int unit, const NormGradient& gradient) {
    gradients_[kFirstParameter + parameter(unit, kGamma)] = gradient.weight;
    gradients_[kFirstParameter + parameter(unit, kBeta)] = gradient.bias;
  }

  SplitGradient run_block(SplitGradient& dy, int block) {
    const auto slot = [&](BlockSlot which) { return saved_[block_slot(block, which)]; };
    const BlockShape shape = block_shape(stage_, block);
    const Tensor in = slot(kIn);
    const Tensor out = block + 1 < kBlocks ? saved_[block_slot(block + 1, kIn)] : saved_[kResult];
    const Normed x1{slot(kX1), slot(kStatistics1)};
    const Normed x2{slot(kX2), slot(kStatistics2)};
    const Normed shortcut{slot(kXr), slot(kStatisticsR)};

    const AddReluGradients sum =
        add_relu_backward(dy.first, dy.second, out, x2, shortcut, pixels(out), training_);
    const Tensor dz = dy.first;
    set_norm_gradients(shape.conv2, sum.x);
    // The second part is in the sum, so its buffer is free.
    Tensor dx2 = dy.second.defined() ? dy.second : at::empty_like(dz);
    dy = {};
    norm_backward(x2, dz, sum.x, dx2);
    if (needs(shape.conv2, kWeight)) {
      const Tensor hidden = at::empty_like(x1.x);  // again: cheaper than to keep it
      norm_relu(x1, hidden);
      set_weight_gradient(shape.conv2, hidden, dx2, 1);
    }
    const Tensor dx1 =
        convolve_backward_input(dx2, weight(shape.conv2), 1, x1.x.size(2), x1.x.size(3));
    dx2 = Tensor();
    set_norm_gradients(shape.conv1, norm_relu_backward(x1, dx1, training_));
    if (needs(shape.conv1, kWeight)) {
      set_weight_gradient(shape.conv1, in, dx1, shape.stride);
    }
    Tensor din;
    if (needs_input_of(block)) {
      din = convolve_backward_input(dx1, weight(shape.conv1), shape.stride, in.size(2), in.size(3));
    }
    if (shape.downsample == kNoUnit) {
      return {din, dz};
    }
    run_downsample(shape.downsample, in, shortcut, dz, sum.shortcut, din);
    return {din, {}};
  }

  void run_downsample(int unit, const Tensor& in, const Normed& shortcut, const Tensor& dz,
                      const NormGradient& gradient, const Tensor& din) {
    set_norm_gradients(unit, gradient);
    norm_backward(shortcut, dz, gradient, dz);
    if (needs(unit, kWeight)) {
      set_weight_gradient(unit, subsample(in), dz, 1);
    }
    if (din.defined()) {
      add_subsampled(convolve_backward_input(dz, weight(unit), 1, dz.size(2), dz.size(3)), din);
    }
  }

  void run_stem(SplitGradient& dy) {
    if (!needs_input_of(0)) {
      return;
    }
    const auto slot = [&](StemSlot which) { return saved_[kStemStart + which]; };
    const Normed stem{slot(kStem), slot(kStemStatistics)};
    const Tensor pooled = saved_[block_slot(0, kIn)];
    const AddReluGradients sum =
        add_relu_backward(dy.first, dy.second, pooled, {slot(kMaximum), stem.statistics}, {},
                          pixels(stem.x), training_);
    dy.second = Tensor();
    set_norm_gradients(0, sum.x);
    if (needs(0, kWeight)) {
      set_weight_gradient(0, slot(kImages),
                          norm_pool_backward(stem, dy.first, slot(kPosition), sum.x), kStemStride);
    }
  }

  static int64_t pixels(const Tensor& x) { return x.size(2) * x.size(3); }

  const AutogradContext& context_;
  int stage_;
  bool training_;
  variable_list saved_;
  variable_list gradients_;
};

/// Makes differentiating the gradients an error rather than silently nothing.
void forbid_second_order(variable_list& gradients, const variable_list& depends_on) {
  using torch::autograd::Error;
  const std::shared_ptr<Error> error(
      new Error("[resnet18] the fused kernels have no second-order gradients; build the encoder "
                "with .fused = false",
                torch::autograd::collect_next_edges(depends_on)),
      torch::autograd::deleteNode);
  torch::autograd::set_history(gradients, error);
}

class StageFunction : public torch::autograd::Function<StageFunction> {
 public:
  /// `parameters` are those of `units`, once more so that autograd sees them.
  static Tensor forward(AutogradContext* context, const Tensor& input, at::TensorList parameters,
                        const ConvolutionNorm* units, int stage, bool training, bool keeps) {
    StageForward forward(units, stage, training, keeps);
    Tensor output = forward.run(input);
    if (keeps) {
      variable_list saved = forward.saved();
      std::copy(parameters.begin(), parameters.end(), saved.begin());
      context->save_for_backward(std::move(saved));
      context->saved_data["stage"] = static_cast<int64_t>(stage);
      context->saved_data["training"] = training;
    }
    return output;
  }

  static variable_list backward(AutogradContext* context, const variable_list& outer) {
    constexpr size_t kOtherArguments = 4;
    const auto stage = static_cast<int>(context->saved_data["stage"].toInt());
    variable_list gradients;
    {
      const torch::NoGradGuard no_grad;
      gradients =
          StageBackward(*context, stage, context->saved_data["training"].toBool()).run(outer[0]);
    }
    if (torch::GradMode::is_enabled()) {
      const variable_list saved = context->get_saved_variables();
      variable_list depends_on(saved.begin(), saved.begin() + kParameters);
      depends_on.insert(depends_on.end(), {outer[0], saved[block_slot(0, kIn)]});
      forbid_second_order(gradients, depends_on);
    }
    gradients.resize(gradients.size() + kOtherArguments);
    return gradients;
  }
};

}  // namespace

Tensor resnet_stage(const Tensor& input, const ConvolutionNorm* units, int stage, bool training) {
  variable_list parameters;
  for (int unit = 0; unit < kUnitsPerStage; ++unit) {
    parameters.insert(parameters.end(), {units[unit].convolution->weight, units[unit].norm->weight,
                                         units[unit].norm->bias});
  }
  const bool keeps =
      torch::GradMode::is_enabled() &&
      (input.requires_grad() || torch::autograd::any_variable_requires_grad(parameters));
  return StageFunction::apply(input, at::TensorList(parameters), units, stage, training, keeps);
}

}  // namespace unbraid::kernels
