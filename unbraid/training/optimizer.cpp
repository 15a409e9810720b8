#include "unbraid/training/optimizer.h"

#include <algorithm>
#include <cmath>

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include "unbraid/training/parameter_patterns.h"

namespace unbraid {
namespace {

constexpr int64_t kGrain = 1 << 15;

/// What one update does to each element; `Vector` is a float (fused pass) or a tensor.
struct Rule {
  double lr;
  double gradient_scale;
  double weight_decay;
  double momentum;
  bool nesterov;
  bool first_step;
  bool decoupled;
  double beta1;
  double beta2;
  double step_size;    // adam: lr / (1 - beta1^t)
  double root_factor;  // adam: 1 / sqrt(1 - beta2^t)
  double eps;
};

void sgd_fused(const Rule& rule, float* parameter, const float* gradient, float* momentum,
               int64_t count) {
  const auto lr = static_cast<float>(rule.lr);
  const auto scale = static_cast<float>(rule.gradient_scale);
  const auto decay = static_cast<float>(rule.weight_decay);
  const auto keep = static_cast<float>(rule.first_step ? 0.0 : rule.momentum);
  const auto look_ahead = static_cast<float>(rule.nesterov ? rule.momentum : 0.0);
  const float current = rule.nesterov ? 1.0F : 0.0F;
  const float averaged = rule.nesterov ? look_ahead : 1.0F;
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    const float g = scale * gradient[i] + decay * parameter[i];
    momentum[i] = keep * momentum[i] + g;
    parameter[i] -= lr * (current * g + averaged * momentum[i]);
  }
}

void sgd_tensors(const Rule& rule, torch::Tensor& parameter, const torch::Tensor& gradient,
                 torch::Tensor& momentum) {
  const torch::Tensor g = gradient * rule.gradient_scale + parameter * rule.weight_decay;
  momentum.mul_(rule.first_step ? 0.0 : rule.momentum).add_(g);
  parameter.sub_(rule.nesterov ? g + rule.momentum * momentum : momentum, rule.lr);
}

void adam_fused(const Rule& rule, float* parameter, const float* gradient, float* mean,
                float* mean_square, int64_t count) {
  const auto scale = static_cast<float>(rule.gradient_scale);
  const auto decay = static_cast<float>(rule.decoupled ? 0.0 : rule.weight_decay);
  const auto shrink = static_cast<float>(rule.decoupled ? 1 - rule.lr * rule.weight_decay : 1.0);
  const auto beta1 = static_cast<float>(rule.beta1);
  const auto beta2 = static_cast<float>(rule.beta2);
  const auto new1 = static_cast<float>(1 - rule.beta1);
  const auto new2 = static_cast<float>(1 - rule.beta2);
  const auto step_size = static_cast<float>(rule.step_size);
  const auto root_factor = static_cast<float>(rule.root_factor);
  const auto eps = static_cast<float>(rule.eps);
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    const float g = scale * gradient[i] + decay * parameter[i];
    mean[i] = beta1 * mean[i] + new1 * g;
    mean_square[i] = beta2 * mean_square[i] + new2 * g * g;
    parameter[i] = shrink * parameter[i] -
                   step_size * mean[i] / (std::sqrt(mean_square[i]) * root_factor + eps);
  }
}

void adam_tensors(const Rule& rule, torch::Tensor& parameter, const torch::Tensor& gradient,
                  torch::Tensor& mean, torch::Tensor& mean_square) {
  torch::Tensor g = gradient * rule.gradient_scale;
  if (rule.decoupled) {
    parameter.mul_(1 - rule.lr * rule.weight_decay);
  } else {
    g = g + parameter * rule.weight_decay;
  }
  mean.mul_(rule.beta1).add_(g, 1 - rule.beta1);
  mean_square.mul_(rule.beta2).addcmul_(g, g, 1 - rule.beta2);
  parameter.addcdiv_(mean, mean_square.sqrt() * rule.root_factor + rule.eps, -rule.step_size);
}

/// Whether all tensors are float on the CPU and lie in memory in the same dense order.
bool can_fuse(const torch::Tensor& parameter, const torch::Tensor& gradient) {
  return parameter.is_cpu() && parameter.scalar_type() == torch::kFloat &&
         gradient.scalar_type() == torch::kFloat && gradient.layout() == torch::kStrided &&
         parameter.strides() == gradient.strides() && parameter.is_non_overlapping_and_dense();
}

}  // namespace

OptimizerOptions read_optimizer(Options& options) {
  OptimizerOptions read;
  read.type = options.choice("type", {"sgd", "adam", "adamw"}, read.type);
  read.lr = options.number("lr", read.lr, {.min = 0});
  read.weight_decay = options.number("weight_decay", read.type == "adamw" ? 0.01 : 0.0, {.min = 0});
  if (read.type == "sgd") {
    read.momentum = options.number("momentum", read.momentum, {.min = 0, .max = 0.9999});
    read.nesterov = options.boolean("nesterov", read.nesterov);
    if (read.nesterov && read.momentum == 0) {
      throw options.error("nesterov", "expected a momentum above 0, got 0");
    }
  } else {
    const auto betas = options.numbers("betas", std::vector<double>{read.beta1, read.beta2},
                                       {.min = 0, .max = 0.999999});
    if (betas.size() != 2) {
      throw options.error("betas", fmt::format("expected two numbers, got {}", betas.size()));
    }
    read.beta1 = betas[0];
    read.beta2 = betas[1];
    read.eps = options.number("eps", read.eps, {.min = 0, .open_min = true});
  }
  Options groups = options.table("groups");
  for (const std::string& pattern : groups.keys()) {
    Options group = groups.table(pattern);
    read.groups.push_back({pattern, group.number("lr_scale", 1.0, {.min = 0}),
                           group.number("weight_decay", read.weight_decay, {.min = 0})});
    group.finish();
  }
  return read;
}

std::vector<const ParameterGroup*> assign_groups(const std::vector<ParameterGroup>& groups,
                                                 const std::vector<std::string>& names,
                                                 const std::string& key) {
  std::vector<std::string> patterns;
  for (const ParameterGroup& group : groups) {
    patterns.push_back(group.pattern);
  }
  std::vector<const ParameterGroup*> assigned;
  for (const size_t place : match_patterns(patterns, names, key)) {
    assigned.push_back(place < groups.size() ? &groups[place] : nullptr);
  }
  for (const ParameterGroup& group : groups) {
    if (std::find(assigned.begin(), assigned.end(), &group) == assigned.end()) {
      throw RecipeError(fmt::format(
          "{}: expected parameters for \"{}\", but patterns before it match all of them", key,
          group.pattern));
    }
  }
  return assigned;
}

Optimizer::Optimizer(const OptimizerOptions& options,
                     const torch::OrderedDict<std::string, torch::Tensor>& parameters)
    : options_(options) {
  const auto groups = assign_groups(options.groups, parameters.keys(), "optimizer.groups");
  for (size_t i = 0; i < parameters.size(); ++i) {
    const ParameterGroup* group = groups[i];
    slots_.push_back({.name = parameters[i].key(),
                      .parameter = parameters[i].value(),
                      .lr_scale = group != nullptr ? group->lr_scale : 1.0,
                      .weight_decay = group != nullptr ? group->weight_decay : options.weight_decay,
                      .first = {},
                      .second = {}});
  }
}

void Optimizer::step(double lr, double gradient_scale) {
  const torch::NoGradGuard no_grad;
  for (Slot& slot : slots_) {
    if (slot.parameter.grad().defined()) {
      update(slot, lr * slot.lr_scale, gradient_scale);
    }
  }
}

void Optimizer::update(Slot& slot, double lr, double gradient_scale) {
  torch::Tensor& parameter = slot.parameter;
  const torch::Tensor gradient = parameter.grad();
  if (!slot.first.defined()) {
    slot.first = torch::zeros_like(parameter);
    slot.second = adaptive() ? torch::zeros_like(parameter) : torch::Tensor();
  }
  const auto t = static_cast<double>(++slot.steps);
  const Rule rule{
      .lr = lr,
      .gradient_scale = gradient_scale,
      .weight_decay = slot.weight_decay,
      .momentum = options_.momentum,
      .nesterov = options_.nesterov,
      .first_step = slot.steps == 1,
      .decoupled = options_.type == "adamw",
      .beta1 = options_.beta1,
      .beta2 = options_.beta2,
      .step_size = lr / (1 - std::pow(options_.beta1, t)),
      .root_factor = 1 / std::sqrt(1 - std::pow(options_.beta2, t)),
      .eps = options_.eps,
  };
  if (!can_fuse(parameter, gradient) || slot.first.strides() != parameter.strides()) {
    if (adaptive()) {
      adam_tensors(rule, parameter, gradient, slot.first, slot.second);
    } else {
      sgd_tensors(rule, parameter, gradient, slot.first);
    }
    return;
  }
  auto* const p = parameter.data_ptr<float>();
  const auto* const g = gradient.data_ptr<float>();
  auto* const first = slot.first.data_ptr<float>();
  auto* const second = adaptive() ? slot.second.data_ptr<float>() : nullptr;
  at::parallel_for(0, parameter.numel(), kGrain, [&](int64_t begin, int64_t end) {
    if (adaptive()) {
      adam_fused(rule, p + begin, g + begin, first + begin, second + begin, end - begin);
    } else {
      sgd_fused(rule, p + begin, g + begin, first + begin, end - begin);
    }
  });
  parameter.unsafeGetTensorImpl()->bump_version();  // autograd must see what the raw pass wrote
}

void Optimizer::zero_grad() {
  for (Slot& slot : slots_) {
    slot.parameter.mutable_grad() = torch::Tensor();
  }
}

NamedTensors Optimizer::state() const {
  NamedTensors state;
  for (const Slot& slot : slots_) {
    if (slot.first.defined()) {
      state.emplace_back("step." + slot.name, torch::tensor(slot.steps));
      state.emplace_back("first." + slot.name, slot.first);
      if (adaptive()) {
        state.emplace_back("second." + slot.name, slot.second);
      }
    }
  }
  return state;
}

void Optimizer::load_state(const NamedTensors& state) {
  std::map<std::string, torch::Tensor> left(state.begin(), state.end());
  const auto take = [&](const std::string& name, const torch::Tensor& like) {
    const auto entry = left.find(name);
    if (entry == left.end() || entry->second.sizes() != like.sizes() ||
        entry->second.scalar_type() != like.scalar_type()) {
      throw StorageError("optimizer state: expected " + name +
                         " with the parameter's shape and type");
    }
    const torch::Tensor value = torch::empty_like(like).copy_(entry->second);
    left.erase(entry);
    return value;
  };
  const torch::NoGradGuard no_grad;
  for (Slot& slot : slots_) {
    if (!left.contains("step." + slot.name)) {
      continue;  // no gradient has reached it yet
    }
    slot.steps = take("step." + slot.name, torch::tensor(int64_t{0})).item<int64_t>();
    slot.first = take("first." + slot.name, slot.parameter);
    if (adaptive()) {
      slot.second = take("second." + slot.name, slot.parameter);
    }
  }
  if (!left.empty()) {
    throw StorageError("optimizer state: unexpected entry " + left.begin()->first);
  }
}

std::map<std::string, double> gradient_norms(const torch::nn::Module& module) {
  std::map<std::string, double> squares;
  std::vector<std::string> parts;
  std::vector<torch::Tensor> norms;
  for (const auto& entry : module.named_parameters()) {
    const std::string& name = entry.key();
    const size_t start = name.starts_with("encoders.") ? std::string("encoders.").size() : 0;
    const std::string part = name.substr(0, name.find('.', start));
    squares[part] += 0;
    if (entry.value().grad().defined()) {
      parts.push_back(part);
      norms.push_back(entry.value().grad().norm().to(torch::kDouble));
    }
  }
  if (!norms.empty()) {
    // One transfer from the device for all of them.
    const torch::Tensor values = torch::stack(norms).square().cpu();
    for (size_t i = 0; i < parts.size(); ++i) {
      squares[parts[i]] += values.data_ptr<double>()[i];
    }
  }
  double total = 0;
  for (auto& [part, square] : squares) {
    total += square;
    square = std::sqrt(square);
  }
  squares[""] = std::sqrt(total);
  return squares;
}

double clip_factor(double norm, double max_norm) {
  return max_norm == 0 ? 1.0 : std::min(1.0, max_norm / (norm + 1e-6));
}

}  // namespace unbraid
