#include "unbraid/models/kernels/blocked_convolution.h"

#include <ATen/Parallel.h>

#include <dnnl_debug.h>
#include <dnnl.hpp>
#include <map>
#include <memory>
#include <mutex>
#include <tuple>

#include "unbraid/models/kernels/norm_kernels.h"

static_assert(DNNL_VERSION_MAJOR == 2, "later versions of oneDNN describe operations otherwise");

namespace unbraid::kernels {
namespace {

using dnnl::memory;
using torch::Tensor;
using Description = memory::desc;
using Tag = memory::format_tag;

enum class Direction { kForward, kBackwardInput, kBackwardWeight };

struct Geometry {
  Direction direction;
  at::ScalarType type;
  int64_t batch, in_channels, height, width;
  int64_t out_channels, kernel, stride;
  int threads;  // oneDNN splits the work for as many when it makes the primitive

  Geometry(Direction way, at::ScalarType activations, int64_t images, int64_t in_height,
           int64_t in_width, const Tensor& weight, int64_t step)
      : direction(way),
        type(activations),
        batch(images),
        in_channels(weight.size(1)),
        height(in_height),
        width(in_width),
        out_channels(weight.size(0)),
        kernel(weight.size(2)),
        stride(step),
        threads(at::get_num_threads()) {}

  [[nodiscard]] int64_t padding() const { return kernel / 2; }
  [[nodiscard]] int64_t out_size(int64_t size) const {
    return (size + 2 * padding() - kernel) / stride + 1;
  }
  [[nodiscard]] bool may_use_winograd() const {
    return type == at::kFloat && kernel == 3 && stride == 1;
  }
  [[nodiscard]] auto key() const {
    return std::tuple(direction, type, batch, in_channels, height, width, out_channels, kernel,
                      stride, threads);
  }
};

/// A primitive with the layouts it wants.
struct Plan {
  dnnl::primitive primitive;
  Description input, weight, output, scratch;
};

const dnnl::engine& engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

dnnl::stream& stream() {
  thread_local dnnl::stream in_order(engine());
  return in_order;
}

/// Runs `body`; what oneDNN throws becomes LibTorch's kind of error.
template <typename Body>
auto translating_errors(Body body) {
  try {
    return body();
  } catch (const dnnl::error& error) {
    TORCH_CHECK(false, "[resnet] oneDNN failed: ", error.what(), " (status ",
                dnnl_status2str(error.status), ")");
  }
}

Plan make_plan(const Geometry& g, dnnl::algorithm algorithm) {
  const auto type = g.type == at::kBFloat16 ? memory::data_type::bf16 : memory::data_type::f32;
  const Description input({g.batch, g.in_channels, g.height, g.width}, type,
                          g.in_channels < kBlock ? Tag::nchw : Tag::nChw16c);
  const Description output({g.batch, g.out_channels, g.out_size(g.height), g.out_size(g.width)},
                           type, Tag::nChw16c);
  const memory::dims weight_sizes{g.out_channels, g.in_channels, g.kernel, g.kernel};
  const Description weight(weight_sizes, type, Tag::any);
  const memory::dims strides{g.stride, g.stride};
  const memory::dims padding{g.padding(), g.padding()};
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  using Forward = dnnl::convolution_forward;
  const Forward::primitive_desc forward({dnnl::prop_kind::forward_training, algorithm, input,
                                         weight, output, strides, padding, padding},
                                        attributes, engine());
  if (g.direction == Direction::kForward) {
    return {Forward(forward), input, forward.weights_desc(), output, forward.scratchpad_desc()};
  }
  if (g.direction == Direction::kBackwardInput) {
    using Backward = dnnl::convolution_backward_data;
    const Backward::primitive_desc backward(
        {algorithm, input, weight, output, strides, padding, padding}, attributes, engine(),
        forward);
    return {Backward(backward), input, backward.weights_desc(), output, backward.scratchpad_desc()};
  }
  using Backward = dnnl::convolution_backward_weights;
  const Description gradient(weight_sizes, memory::data_type::f32, Tag::any);
  const Backward::primitive_desc backward(
      {algorithm, input, gradient, output, strides, padding, padding}, attributes, engine(),
      forward);
  return {Backward(backward), input, backward.diff_weights_desc(), output,
          backward.scratchpad_desc()};
}

std::shared_ptr<const Plan> make_best_plan(const Geometry& geometry) {
  if (geometry.may_use_winograd()) {
    try {
      return std::make_shared<Plan>(make_plan(geometry, dnnl::algorithm::convolution_winograd));
    } catch (const dnnl::error&) {  // not every shape and processor has it
    }
  }
  return std::make_shared<Plan>(make_plan(geometry, dnnl::algorithm::convolution_direct));
}

std::shared_ptr<const Plan> find_plan(const Geometry& geometry) {
  constexpr size_t kMostPlans = 1024;  // a network has about 40 for each shape of its input
  static std::mutex mutex;
  static std::map<decltype(geometry.key()), std::shared_ptr<const Plan>> plans;
  const std::lock_guard lock(mutex);
  if (const auto found = plans.find(geometry.key()); found != plans.end()) {
    return found->second;
  }
  if (plans.size() >= kMostPlans) {
    plans.clear();
  }
  return plans[geometry.key()] = make_best_plan(geometry);
}

Tensor empty_bytes(const Description& description) {
  return at::empty({static_cast<int64_t>(description.get_size())}, at::kByte);
}

memory wrap(const Description& description, const Tensor& tensor) {
  return {description, engine(), tensor.data_ptr()};
}

void reorder(const memory& from, const memory& to) {
  dnnl::reorder(from, to).execute(stream(), {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}});
}

bool has_tagged_layout(const Tensor& weight) {
  return weight.is_contiguous() || weight.is_contiguous(at::MemoryFormat::ChannelsLast);
}

/// Of a float weight that has_tagged_layout().
memory wrap_weight(const Tensor& weight) {
  const Description description(memory::dims(weight.sizes().begin(), weight.sizes().end()),
                                memory::data_type::f32,
                                weight.is_contiguous() ? Tag::oihw : Tag::ohwi);
  return wrap(description, weight);
}

Tensor reordered_weight(const Tensor& weight, const Description& description) {
  Tensor reordered = empty_bytes(description);
  reorder(wrap_weight(has_tagged_layout(weight) ? weight : weight.contiguous()),
          wrap(description, reordered));
  return reordered;
}

void restore_weight(const Tensor& reordered, const Description& description, Tensor& weight) {
  if (has_tagged_layout(weight)) {
    reorder(wrap(description, reordered), wrap_weight(weight));
  } else {
    const Tensor contiguous = at::empty(weight.sizes(), at::kFloat);
    reorder(wrap(description, reordered), wrap_weight(contiguous));
    weight.copy_(contiguous);
  }
}

void execute(const Plan& plan, std::unordered_map<int, memory> arguments) {
  const Tensor scratch = empty_bytes(plan.scratch);
  arguments.emplace(DNNL_ARG_SCRATCHPAD, wrap(plan.scratch, scratch));
  plan.primitive.execute(stream(), arguments);
}

}  // namespace

bool blocked_convolution_available(at::ScalarType type) {
  const dnnl_version_t* version = dnnl_version();
  if (version->major != DNNL_VERSION_MAJOR || version->minor < 6) {
    return false;
  }
  const auto effective = static_cast<unsigned>(dnnl::get_effective_cpu_isa());
  const auto wanted = static_cast<unsigned>(type == at::kBFloat16 ? dnnl::cpu_isa::avx512_core_bf16
                                                                  : dnnl::cpu_isa::avx512_core);
  return (type == at::kFloat || type == at::kBFloat16) && (effective & wanted) == wanted;
}

Tensor empty_blocked(int64_t batch, int64_t channels, int64_t height, int64_t width,
                     at::ScalarType type) {
  return at::empty({batch, channels / kBlock, height, width, kBlock}, type);
}

Tensor convolve(const Tensor& input, const Tensor& weight, int64_t stride) {
  return translating_errors([&] {
    const Geometry geometry(Direction::kForward, input.scalar_type(), input.size(0), input.size(2),
                            input.size(3), weight, stride);
    const auto plan = find_plan(geometry);
    Tensor output =
        empty_blocked(geometry.batch, geometry.out_channels, geometry.out_size(geometry.height),
                      geometry.out_size(geometry.width), geometry.type);
    const Tensor reordered = reordered_weight(weight, plan->weight);
    execute(*plan, {{DNNL_ARG_SRC, wrap(plan->input, input)},
                    {DNNL_ARG_WEIGHTS, wrap(plan->weight, reordered)},
                    {DNNL_ARG_DST, wrap(plan->output, output)}});
    return output;
  });
}

Tensor convolve_backward_input(const Tensor& gradient, const Tensor& weight, int64_t stride,
                               int64_t height, int64_t width) {
  return translating_errors([&] {
    const Geometry geometry(Direction::kBackwardInput, gradient.scalar_type(), gradient.size(0),
                            height, width, weight, stride);
    const auto plan = find_plan(geometry);
    Tensor input_gradient =
        empty_blocked(geometry.batch, geometry.in_channels, height, width, geometry.type);
    const Tensor reordered = reordered_weight(weight, plan->weight);
    execute(*plan, {{DNNL_ARG_DIFF_DST, wrap(plan->output, gradient)},
                    {DNNL_ARG_WEIGHTS, wrap(plan->weight, reordered)},
                    {DNNL_ARG_DIFF_SRC, wrap(plan->input, input_gradient)}});
    return input_gradient;
  });
}

Tensor convolve_backward_weight(const Tensor& input, const Tensor& gradient, const Tensor& weight,
                                int64_t stride) {
  return translating_errors([&] {
    const Geometry geometry(Direction::kBackwardWeight, input.scalar_type(), input.size(0),
                            input.size(2), input.size(3), weight, stride);
    const auto plan = find_plan(geometry);
    // What stays is allocated before what is freed at once, which keeps the heap compact.
    Tensor result = at::empty_like(weight);
    const Tensor weight_gradient = empty_bytes(plan->weight);
    execute(*plan, {{DNNL_ARG_SRC, wrap(plan->input, input)},
                    {DNNL_ARG_DIFF_DST, wrap(plan->output, gradient)},
                    {DNNL_ARG_DIFF_WEIGHTS, wrap(plan->weight, weight_gradient)}});
    restore_weight(weight_gradient, plan->weight, result);
    return result;
  });
}

}  // namespace unbraid::kernels
