#include "unbraid/models/kernels/fused_resnet.h"

#ifdef UNBRAID_HAVE_ONEDNN

#include <ATen/TracerMode.h>

#include <algorithm>

#include "unbraid/core/autocast.h"
#include "unbraid/core/process.h"
#include "unbraid/models/kernels/blocked_convolution.h"
#include "unbraid/models/kernels/norm_kernels.h"
#include "unbraid/models/kernels/resnet_stage.h"

namespace unbraid::kernels {
namespace {

using torch::Tensor;

bool available(at::ScalarType type) {
  static const bool runs_norm_kernels = cpu_has_avx512() && __builtin_cpu_supports("fma");
  return runs_norm_kernels && blocked_convolution_available(type);
}

/// What LibTorch's convolutions would compute in, or Undefined where the kernels have no match.
at::ScalarType compute_type(const Tensor& images) {
  if (!autocast_enabled(at::kCPU)) {
    return images.scalar_type() == at::kFloat ? at::kFloat : at::ScalarType::Undefined;
  }
  const bool is_cast = images.scalar_type() == at::kFloat || images.scalar_type() == at::kBFloat16;
  return is_cast && autocast_type(at::kCPU) == at::kBFloat16 ? at::kBFloat16
                                                             : at::ScalarType::Undefined;
}

/// Where oneDNN 2.6 has fast kernels for the stem: others fall to its reference loops.
bool stem_is_fast(const Tensor& images, at::ScalarType type) {
  constexpr int64_t kLeastSize = 8;
  return images.size(1) <= (type == at::kFloat ? 3 : kBlock - 1) && images.size(2) >= kLeastSize &&
         images.size(3) >= kLeastSize;
}

bool images_fit(const Tensor& images, const Tensor& stem_weight) {
  return images.device().is_cpu() && images.layout() == at::kStrided && images.dim() == 4 &&
         images.size(0) > 0 && images.size(1) == stem_weight.size(1) &&
         !(images.requires_grad() && at::GradMode::is_enabled()) &&
         !at::tracer::impl::is_dispatch_enabled();
}

bool is_float_vector(const Tensor& tensor, int64_t size) {
  return tensor.defined() && tensor.device().is_cpu() && tensor.scalar_type() == at::kFloat &&
         tensor.is_contiguous() && tensor.numel() == size;
}

bool unit_fits(const ConvolutionNorm& unit, bool training) {
  const Tensor& weight = unit.convolution->weight;
  const auto& norm = *unit.norm;
  const int64_t channels = weight.size(0);
  return weight.device().is_cpu() && weight.scalar_type() == at::kFloat && channels % kBlock == 0 &&
         norm.is_training() == training && norm.options.momentum().has_value() &&
         norm.options.track_running_stats() && norm.num_batches_tracked.defined() &&
         is_float_vector(norm.weight, channels) && is_float_vector(norm.bias, channels) &&
         is_float_vector(norm.running_mean, channels) &&
         is_float_vector(norm.running_var, channels);
}

/// LibTorch refuses to train on a single value per channel, which the last stage has first.
bool has_values_to_normalise(const Tensor& images, size_t stages) {
  const int64_t reduction = int64_t{2} << stages;
  const auto reduced = [&](int64_t size) { return (size + reduction - 1) / reduction; };
  return images.size(0) * reduced(images.size(2)) * reduced(images.size(3)) > 1;
}

}  // namespace

bool fused_resnet_available() { return available(at::kFloat); }

bool fused_resnet_applies(const Tensor& images, const std::vector<ResNetStage>& stages,
                          bool training) {
  if (!images_fit(images, stages.front().front().convolution->weight)) {
    return false;
  }
  const at::ScalarType type = compute_type(images);
  return type != at::ScalarType::Undefined && available(type) && stem_is_fast(images, type) &&
         (!training || has_values_to_normalise(images, stages.size())) &&
         std::all_of(stages.begin(), stages.end(), [&](const ResNetStage& units) {
           return std::all_of(units.begin(), units.end(), [&](const ConvolutionNorm& unit) {
             return unit_fits(unit, training);
           });
         });
}

Tensor fused_resnet(const Tensor& images, const std::vector<ResNetStage>& stages, bool averages,
                    bool training) {
  Tensor x = images.detach().to(compute_type(images)).contiguous();
  for (const ResNetStage& stage : stages) {
    const bool last = &stage == &stages.back();
    const StageOutput result = averages ? StageOutput::kAverages : StageOutput::kMaps;
    x = resnet_stage(x, stage,
                     &stage == &stages.front() ? StageInput::kImages : StageInput::kBlocked,
                     last ? result : StageOutput::kBlocked, training);
  }
  return x;
}

}  // namespace unbraid::kernels

#else

namespace unbraid::kernels {

bool fused_resnet_available() { return false; }

bool fused_resnet_applies(const torch::Tensor&, const std::vector<ResNetStage>&, bool) {
  return false;
}

torch::Tensor fused_resnet(const torch::Tensor&, const std::vector<ResNetStage>&, bool, bool) {
  TORCH_CHECK(false, "[resnet] this build has no fused kernels");
}

}  // namespace unbraid::kernels

#endif
