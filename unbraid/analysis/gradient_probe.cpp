#include "unbraid/analysis/gradient_probe.h"

#include <cmath>
#include <limits>

#include "unbraid/analysis/untouched.h"
#include "unbraid/core/autocast.h"
#include "unbraid/models/fusions/concat.h"
#include "unbraid/models/fusions/sum.h"
#include "unbraid/routing/routed_backward.h"
#include "unbraid/tasks/classification.h"

namespace unbraid {
namespace {

constexpr double kNothing = std::numeric_limits<double>::quiet_NaN();

torch::Device device_of(const Batch& batch) { return batch.target.device(); }

/// [n, …] as rows of doubles on the CPU.
torch::Tensor rows_of(const torch::Tensor& values) {
  return values.detach().to(torch::kCPU, torch::kDouble).flatten(1);
}

torch::Tensor norms_of(const torch::Tensor& rows) { return rows.norm(2, {1}); }

double sum_of(const torch::Tensor& values) { return values.sum().item<double>(); }

double ratio_of(double part, double whole) { return whole == 0 ? kNothing : part / whole; }

/// d loss / d leaf; zeros where the loss does not depend on it.
torch::Tensor gradient_at(const torch::Tensor& loss, const torch::Tensor& leaf) {
  if (!loss.requires_grad()) {
    return torch::zeros_like(leaf);
  }
  const AutocastGuard as_forward(leaf.device().type(), false);
  const torch::Tensor gradient =
      torch::autograd::grad({loss}, {leaf}, {}, false, false, /*allow_unused=*/true).front();
  return gradient.defined() ? gradient : torch::zeros_like(leaf);
}

/// Adds `gradients`, undefined ones being zero, to `sums`.
void accumulate(std::vector<torch::Tensor>& sums, const std::vector<torch::Tensor>& gradients) {
  sums.resize(gradients.size());
  for (size_t i = 0; i < gradients.size(); ++i) {
    if (gradients[i].defined()) {
      sums[i] = sums[i].defined() ? sums[i] + gradients[i] : gradients[i];
    }
  }
}

double product_of(const std::vector<torch::Tensor>& left, const std::vector<torch::Tensor>& right) {
  double sum = 0;
  for (size_t i = 0; i < left.size(); ++i) {
    if (left[i].defined() && right[i].defined()) {
      sum += sum_of(left[i].to(torch::kDouble) * right[i]);
    }
  }
  return sum;
}

/// Moves the gradients of `parameters` aside while it lives.
class GradientsAside {
 public:
  explicit GradientsAside(std::vector<torch::Tensor> parameters)
      : parameters_(std::move(parameters)) {
    for (torch::Tensor& parameter : parameters_) {
      kept_.push_back(parameter.grad());
      parameter.mutable_grad() = torch::Tensor();
    }
  }
  ~GradientsAside() {
    for (size_t i = 0; i < parameters_.size(); ++i) {
      parameters_[i].mutable_grad() = kept_[i];
    }
  }
  GradientsAside(const GradientsAside&) = delete;
  GradientsAside& operator=(const GradientsAside&) = delete;

 private:
  std::vector<torch::Tensor> parameters_;
  std::vector<torch::Tensor> kept_;
};

}  // namespace

torch::Tensor linear_weight(const torch::nn::Module& fusion, size_t modality) {
  if (const auto* concat = dynamic_cast<const ConcatFusion*>(&fusion)) {
    return concat->weight_of(modality);
  }
  if (const auto* sum = dynamic_cast<const SumFusion*>(&fusion)) {
    return sum->weight_of(modality);
  }
  return {};
}

GradientProbe::GradientProbe(MultimodalModelImpl& model, const Task& task)
    : model_(model), task_(task), sums_(model.size()) {}

void GradientProbe::add(const Batch& batch) {
  TORCH_CHECK(batch.inputs.size() == model_.size(), "[gradient_probe] expected ", model_.size(),
              " inputs, got ", batch.inputs.size());
  const Untouched untouched(model_, device_of(batch));
  ModalityTensors features(model_.size());
  for (size_t m = 0; m < model_.size(); ++m) {
    if (batch.inputs[m].defined()) {
      const torch::NoGradGuard no_grad;
      features[m] = model_.encode(m, batch.inputs[m]);
    }
    clear_autocast_cache();
  }
  for (size_t m = 0; m < model_.size(); ++m) {
    if (features[m].defined()) {
      add_modality(batch, features, m);
    }
  }
}

void GradientProbe::add_modality(const Batch& batch, const ModalityTensors& features,
                                 size_t modality) {
  const torch::AutoGradMode gradients(true);
  Sums& sums = sums_[modality];
  const torch::Tensor target = batch.presence.pack(batch.target, modality);
  const auto samples = static_cast<double>(target.size(0));
  ModalityTensors all = features;
  const torch::Tensor leaf = features[modality].detach().set_requires_grad(true);
  all[modality] = leaf;
  const torch::Tensor output = batch.presence.pack(model_.fuse(all, batch.presence), modality);
  clear_autocast_cache();
  const torch::Tensor multimodal = gradient_at(task_.loss(output, target), leaf);
  const torch::Tensor output_alone = model_.alone(modality, leaf);
  clear_autocast_cache();
  const torch::Tensor unimodal = gradient_at(task_.loss(output_alone, target), leaf);

  const torch::Tensor g = rows_of(multimodal) * samples;
  const torch::Tensor u = rows_of(unimodal) * samples;
  sums.norms.push_back(norms_of(g));
  sums.norms_alone.push_back(norms_of(u));
  sums.products.push_back((g * u).sum(1));
  add_encoder(batch, modality, multimodal * samples, unimodal * samples);

  add_closed_form(output.detach(), output_alone.detach(), target, modality, g, u);
}

void GradientProbe::add_closed_form(const torch::Tensor& output, const torch::Tensor& output_alone,
                                    const torch::Tensor& target, size_t modality,
                                    const torch::Tensor& g, const torch::Tensor& u) {
  const auto* classification = dynamic_cast<const Classification*>(&task_);
  const torch::Tensor weight = linear_weight(model_.fusion(), modality);
  if (classification == nullptr || !weight.defined()) {
    return;
  }
  const torch::Tensor columns = weight.detach().to(torch::kCPU, torch::kDouble);
  const torch::Tensor residuals = classification->residuals(output, target).cpu();
  const torch::Tensor residuals_alone = classification->residuals(output_alone, target).cpu();
  const torch::Tensor g_closed = residuals.matmul(columns);
  const torch::Tensor u_closed = residuals_alone.matmul(columns);
  const auto log_p = [&](const torch::Tensor& logits) {
    return logits.to(torch::kDouble).log_softmax(1).gather(1, target.unsqueeze(1));
  };
  if (!sums_[modality].closed) {
    sums_[modality].closed = ClosedSums{};
  }
  ClosedSums& sums = *sums_[modality].closed;
  sums.gradients += sum_of(norms_of(g_closed));
  sums.gradients_alone += sum_of(norms_of(u_closed));
  sums.residuals += sum_of(norms_of(residuals));
  sums.residuals_alone += sum_of(norms_of(residuals_alone));
  sums.surer += sum_of((log_p(output) > log_p(output_alone)).to(torch::kDouble));
  sums.difference += sum_of(norms_of(g_closed - g)) + sum_of(norms_of(u_closed - u));
  sums.measured += sum_of(norms_of(g)) + sum_of(norms_of(u));
}

void GradientProbe::add_encoder(const Batch& batch, size_t modality,
                                const torch::Tensor& multimodal, const torch::Tensor& unimodal) {
  std::vector<torch::Tensor> trained;
  for (const torch::Tensor& parameter : model_.encoder(modality).parameters()) {
    if (parameter.requires_grad()) {
      trained.push_back(parameter);
    }
  }
  if (trained.empty()) {
    return;
  }
  const torch::Tensor feature = model_.encode(modality, batch.inputs[modality]);
  clear_autocast_cache();
  const auto arrived = [&](const torch::Tensor& gradient, bool again) {
    const AutocastGuard as_forward(gradient.device().type(), false);
    return torch::autograd::grad({feature}, trained, {gradient.to(feature.scalar_type())}, again,
                                 false, /*allow_unused=*/true);
  };
  accumulate(sums_[modality].encoder, arrived(multimodal, true));
  accumulate(sums_[modality].encoder_alone, arrived(unimodal, false));
}

std::vector<ModalityGradients> GradientProbe::result() const {
  std::vector<ModalityGradients> results;
  for (const Sums& sums : sums_) {
    ModalityGradients result{0,        kNothing, kNothing, kNothing,
                             kNothing, kNothing, kNothing, std::nullopt};
    if (!sums.norms.empty()) {
      const torch::Tensor g = torch::cat(sums.norms);
      const torch::Tensor u = torch::cat(sums.norms_alone);
      const torch::Tensor neither_zero = (g > 0).logical_and(u > 0);
      const torch::Tensor ratios = (g / u).index({u > 0});
      const torch::Tensor cosines =
          (torch::cat(sums.products) / (g * u)).index({neither_zero}).clamp(-1, 1);
      result.samples = g.numel();
      result.feature_ratio = ratio_of(sum_of(g), sum_of(u));
      result.feature_ratio_median =
          ratios.numel() == 0 ? kNothing : ratios.quantile(0.5).item<double>();
      result.feature_cosine = ratio_of(sum_of(cosines), static_cast<double>(cosines.numel()));
      result.share_below_one = g.lt(u).to(torch::kDouble).mean().item<double>();
      const double norm = std::sqrt(product_of(sums.encoder, sums.encoder));
      const double norm_alone = std::sqrt(product_of(sums.encoder_alone, sums.encoder_alone));
      result.encoder_ratio = ratio_of(norm, norm_alone);
      result.encoder_cosine =
          ratio_of(product_of(sums.encoder, sums.encoder_alone), norm * norm_alone);
    }
    if (sums.closed) {
      result.closed_form =
          ClosedForm{ratio_of(sums.closed->gradients, sums.closed->gradients_alone),
                     ratio_of(sums.closed->residuals, sums.closed->residuals_alone),
                     sums.closed->surer / static_cast<double>(result.samples),
                     ratio_of(sums.closed->difference, sums.closed->measured)};
    }
    results.push_back(result);
  }
  return results;
}

std::set<std::string> reached_parameters(MultimodalModelImpl& model, const Task& task,
                                         const Batch& batch, const GradientRoute& route) {
  const Untouched untouched(model, device_of(batch));
  const GradientsAside aside(model.parameters());
  routed_backward(
      model, batch.inputs, batch.presence,
      [&](const torch::Tensor& output, std::optional<size_t> only) {
        return task.loss(output, only ? batch.presence.pack(batch.target, *only) : batch.target);
      },
      route);
  std::set<std::string> reached;
  for (const auto& parameter : model.named_parameters()) {
    if (parameter.value().grad().defined()) {
      reached.insert(parameter.key());
    }
  }
  return reached;
}

}  // namespace unbraid
