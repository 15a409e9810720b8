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

constexpr int64_t kStemStride = 2;
constexpr int kNoUnit = -1;

struct BlockShape {
  int64_t stride;
  int conv1, conv2, downsample;  // units
};

// A unit's parameters among the stage's.
enum Parameter { kWeight, kGamma, kBeta, kParametersPerUnit };

enum BlockSlot { kIn, kX1, kStatistics1, kX2, kStatistics2, kXr, kStatisticsR, kBlockSlots };
enum StemSlot { kImages, kStem, kStemStatistics, kMaximum, kPosition, kStemSlots };

/// What a stage is made of, and where what is saved of it is: the parameters, then what each block
/// has, then the result of the last block, then for the first stage the stem's.
struct Stage {
  int blocks;
  StageInput input;
  StageOutput output;
  bool training;

  [[nodiscard]] bool has_stem() const { return input == StageInput::kImages; }
  [[nodiscard]] BlockShape block(int number) const {
    if (number == 0 && !has_stem()) {
      return {2, 0, 1, 2};
    }
    return {1, 2 * number + 1, 2 * number + 2, kNoUnit};
  }

  [[nodiscard]] int parameters() const { return (2 * blocks + 1) * kParametersPerUnit; }
  [[nodiscard]] size_t slot(int block, BlockSlot which) const {
    return static_cast<size_t>(parameters() + block * kBlockSlots + which);
  }
  [[nodiscard]] size_t result() const { return slot(blocks, kIn); }
  [[nodiscard]] size_t slot(StemSlot which) const { return result() + 1 + which; }
  [[nodiscard]] size_t slots() const { return slot(kStemSlots); }
};

class StageForward {
 public:
  /// With `keeps`, saved() afterwards has what StageBackward needs.
  StageForward(const ResNetStage& units, const Stage& stage, bool keeps)
      : units_(units), stage_(stage), keeps_(keeps), saved_(stage.slots()) {}

  Tensor run(const Tensor& input) {
    Tensor x = stage_.has_stem() ? run_stem(input) : input;
    for (int block = 0; block < stage_.blocks; ++block) {
      x = run_block(x, block);
    }
    save(stage_.result(), x);
    switch (stage_.output) {
      case StageOutput::kAverages:
        return average(x);
      case StageOutput::kMaps:
        return maps(x);
      default:
        return x;
    }
  }

  [[nodiscard]] const variable_list& saved() const { return saved_; }

 private:
  void save(size_t slot, const Tensor& tensor) {
    if (keeps_) {
      saved_[slot] = tensor;
    }
  }

  Normed unit(const Tensor& x, int number, int64_t stride) {
    const ConvolutionNorm& unit = units_[static_cast<size_t>(number)];
    return with_statistics(convolve(x, unit.convolution->weight, stride), *unit.norm.ptr(),
                           stage_.training);
  }

  /// Where the activation of x goes: over x if the backward pass does not need it.
  [[nodiscard]] Tensor activation_of(const Normed& x) const {
    return keeps_ ? at::empty_like(x.x) : x.x;
  }

  Tensor run_stem(const Tensor& images) {
    const Normed stem = unit(images, 0, kStemStride);
    const Pooled pooled = norm_relu_pool(stem);
    save(stage_.slot(kImages), images);
    save(stage_.slot(kStem), stem.x);
    save(stage_.slot(kStemStatistics), stem.statistics);
    save(stage_.slot(kMaximum), pooled.x_max);
    save(stage_.slot(kPosition), pooled.position);
    return pooled.y;
  }

  Normed run_residual(const Tensor& in, int block) {
    const BlockShape shape = stage_.block(block);
    const Normed x1 = unit(in, shape.conv1, shape.stride);
    const Tensor hidden = activation_of(x1);
    norm_relu(x1, hidden);
    const Normed x2 = unit(hidden, shape.conv2, 1);
    save(stage_.slot(block, kX1), x1.x);
    save(stage_.slot(block, kStatistics1), x1.statistics);
    save(stage_.slot(block, kX2), x2.x);
    save(stage_.slot(block, kStatistics2), x2.statistics);
    return x2;
  }

  Tensor run_block(const Tensor& in, int block) {
    save(stage_.slot(block, kIn), in);
    const Normed residual = run_residual(in, block);
    Normed shortcut{in, {}};
    if (const int downsample = stage_.block(block).downsample; downsample != kNoUnit) {
      // oneDNN 2.6 runs strided 1x1 convolutions of some odd sizes by slow reference loops in
      // bfloat16, so the stride is taken before.
      shortcut = unit(subsample(in), downsample, 1);
      save(stage_.slot(block, kXr), shortcut.x);
      save(stage_.slot(block, kStatisticsR), shortcut.statistics);
    }
    Tensor out = activation_of(residual);
    norm_add_relu(residual, shortcut, out);
    return out;
  }

  const ResNetStage& units_;
  Stage stage_;
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
  StageBackward(const AutogradContext& context, const Stage& stage)
      : context_(context),
        stage_(stage),
        saved_(context.get_saved_variables()),
        gradients_(kFirstParameter + stage.parameters()) {}

  /// Gradients of the input and the parameters.
  variable_list run(const Tensor& gradient) {
    SplitGradient dy{blocked(gradient), {}};
    for (int block = stage_.blocks - 1; block >= 0; --block) {
      dy = run_block(dy, block);
    }
    if (stage_.has_stem()) {
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

  /// The gradient of the last block's result, which may be overwritten.
  [[nodiscard]] Tensor blocked(const Tensor& gradient) const {
    const Tensor& result = saved_[stage_.result()];
    switch (stage_.output) {
      case StageOutput::kAverages:
        return average_backward(gradient, result);
      case StageOutput::kMaps:
        return maps_backward(gradient, result);
      default:
        return gradient;
    }
  }

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
    return stage_.has_stem() ? needs(0, kWeight) || needs(0, kGamma) || needs(0, kBeta)
                             : context_.needs_input_grad(kInput);
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
    const auto slot = [&](BlockSlot which) { return saved_[stage_.slot(block, which)]; };
    const BlockShape shape = stage_.block(block);
    const Tensor in = slot(kIn);
    const Tensor out = saved_[stage_.slot(block + 1, kIn)];  // the last one's: result()
    const Normed x1{slot(kX1), slot(kStatistics1)};
    const Normed x2{slot(kX2), slot(kStatistics2)};
    const Normed shortcut{slot(kXr), slot(kStatisticsR)};

    const AddReluGradients sum =
        add_relu_backward(dy.first, dy.second, out, x2, shortcut, pixels(out), stage_.training);
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
    set_norm_gradients(shape.conv1, norm_relu_backward(x1, dx1, stage_.training));
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
    const auto slot = [&](StemSlot which) { return saved_[stage_.slot(which)]; };
    const Normed stem{slot(kStem), slot(kStemStatistics)};
    const Tensor pooled = saved_[stage_.slot(0, kIn)];
    const AddReluGradients sum =
        add_relu_backward(dy.first, dy.second, pooled, {slot(kMaximum), stem.statistics}, {},
                          pixels(stem.x), stage_.training);
    dy.second = Tensor();
    set_norm_gradients(0, sum.x);
    if (needs(0, kWeight)) {
      set_weight_gradient(0, slot(kImages),
                          norm_pool_backward(stem, dy.first, slot(kPosition), sum.x), kStemStride);
    }
  }

  static int64_t pixels(const Tensor& x) { return x.size(2) * x.size(3); }

  const AutogradContext& context_;
  Stage stage_;
  variable_list saved_;
  variable_list gradients_;
};

/// Makes differentiating the gradients an error rather than silently nothing.
void forbid_second_order(variable_list& gradients, const variable_list& depends_on) {
  using torch::autograd::Error;
  const std::shared_ptr<Error> error(
      new Error("[resnet] the fused kernels have no second-order gradients; build the encoder "
                "with .fused = false",
                torch::autograd::collect_next_edges(depends_on)),
      torch::autograd::deleteNode);
  torch::autograd::set_history(gradients, error);
}

class StageFunction : public torch::autograd::Function<StageFunction> {
 public:
  /// `parameters` are those of `units`, once more so that autograd sees them.
  static Tensor forward(AutogradContext* context, const Tensor& input, at::TensorList parameters,
                        const ResNetStage* units, const Stage& stage, bool keeps) {
    StageForward forward(*units, stage, keeps);
    Tensor output = forward.run(input);
    if (keeps) {
      variable_list saved = forward.saved();
      std::copy(parameters.begin(), parameters.end(), saved.begin());
      context->save_for_backward(std::move(saved));
      context->saved_data["blocks"] = int64_t{stage.blocks};
      context->saved_data["input"] = static_cast<int64_t>(stage.input);
      context->saved_data["output"] = static_cast<int64_t>(stage.output);
      context->saved_data["training"] = stage.training;
    }
    return output;
  }

  static variable_list backward(AutogradContext* context, const variable_list& outer) {
    constexpr size_t kOtherArguments = 3;
    auto& saved_data = context->saved_data;
    const Stage stage{static_cast<int>(saved_data["blocks"].toInt()),
                      static_cast<StageInput>(saved_data["input"].toInt()),
                      static_cast<StageOutput>(saved_data["output"].toInt()),
                      saved_data["training"].toBool()};
    variable_list gradients;
    {
      const torch::NoGradGuard no_grad;
      gradients = StageBackward(*context, stage).run(outer[0]);
    }
    if (torch::GradMode::is_enabled()) {
      const variable_list saved = context->get_saved_variables();
      variable_list depends_on(saved.begin(), saved.begin() + stage.parameters());
      depends_on.insert(depends_on.end(), {outer[0], saved[stage.slot(0, kIn)]});
      forbid_second_order(gradients, depends_on);
    }
    gradients.resize(gradients.size() + kOtherArguments);
    return gradients;
  }
};

}  // namespace

Tensor resnet_stage(const Tensor& x, const ResNetStage& units, StageInput input, StageOutput output,
                    bool training) {
  variable_list parameters;
  for (const ConvolutionNorm& unit : units) {
    parameters.insert(parameters.end(),
                      {unit.convolution->weight, unit.norm->weight, unit.norm->bias});
  }
  const bool keeps = torch::GradMode::is_enabled() &&
                     (x.requires_grad() || torch::autograd::any_variable_requires_grad(parameters));
  const Stage stage{static_cast<int>(units.size() / 2), input, output, training};
  return StageFunction::apply(x, at::TensorList(parameters), &units, stage, keeps);
}

}  // namespace unbraid::kernels
