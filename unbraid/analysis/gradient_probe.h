#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "unbraid/core/batch.h"
#include "unbraid/models/multimodal_model.h"
#include "unbraid/routing/gradient_route.h"
#include "unbraid/tasks/task.h"

namespace unbraid {

/// The gradients of a classification at a fusion that is linear in the features (docs/theory.md),
/// from the outputs alone: no backward pass.
struct ClosedForm {
  double ratio = 0;           // feature_ratio as equations (4) and (5) have it
  double residual_ratio = 0;  // the same of |p - e_y|, before the weights W_m
  double share_surer = 0;     // of samples whose class is more probable fused than alone
  double error = 0;           // of its gradients against the measured ones: norms of differences,
                              // summed, over the sum of the norms
};

/// What reaches modality m from the multimodal loss L, against what reaches it from its unimodal
/// loss L_m. With g_i and u_i the gradients of the two at the feature of sample i, times the number
/// of samples. NaN where there is nothing to divide by.
struct ModalityGradients {
  int64_t samples = 0;              // that have the modality
  double feature_ratio = 0;         // sum_i |g_i| / sum_i |u_i|
  double feature_ratio_median = 0;  // the median of |g_i| / |u_i|
  double feature_cosine = 0;        // the mean of cos(g_i, u_i), where neither is zero
  double share_below_one = 0;       // of samples with |g_i| < |u_i|
  double encoder_ratio = 0;         // |G| / |U|, of the whole gradients of the encoder's parameters
  double encoder_cosine = 0;        // cos(G, U); both NaN for an encoder that is frozen
  std::optional<ClosedForm> closed_form;  // of classification with the fusions concat and sum
};

/// W_m [outputs, feature size] where the fusion is concat or sum: its output is sum_m W_m z_m and a
/// bias. Undefined for others.
torch::Tensor linear_weight(const torch::nn::Module& fusion, size_t modality);

/// Measures how much gradient the fusion module takes away, batch by batch. Both losses are means
/// over the same samples, those of the batch that have the modality. It works in evaluation mode:
/// the rows of a feature's gradient are then those of single samples, and no statistics change. The
/// model's gradients, modes and buffers and the generators of random numbers stay as they are.
/// Encoders have graphs one at a time.
class GradientProbe {
 public:
  /// Both have to outlive this.
  GradientProbe(MultimodalModelImpl& model, const Task& task);

  /// `batch` has a sample or more and is on the model's device.
  void add(const Batch& batch);
  /// By modality.
  [[nodiscard]] std::vector<ModalityGradients> result() const;

 private:
  /// Sums over samples.
  struct ClosedSums {
    double gradients = 0;  // norms of (4) and (5)
    double gradients_alone = 0;
    double residuals = 0;  // norms of p - e_y
    double residuals_alone = 0;
    double surer = 0;
    double difference = 0;  // norms of closed form less measurement
    double measured = 0;
  };

  struct Sums {
    std::vector<torch::Tensor> norms;          // by batch, [n] double: |g_i|
    std::vector<torch::Tensor> norms_alone;    // |u_i|
    std::vector<torch::Tensor> products;       // g_i u_i
    std::vector<torch::Tensor> encoder;        // by parameter, sums over samples: G
    std::vector<torch::Tensor> encoder_alone;  // U
    std::optional<ClosedSums> closed;
  };

  void add_modality(const Batch& batch, const ModalityTensors& features, size_t modality);
  void add_closed_form(const torch::Tensor& output, const torch::Tensor& output_alone,
                       const torch::Tensor& target, size_t modality, const torch::Tensor& g,
                       const torch::Tensor& u);
  void add_encoder(const Batch& batch, size_t modality, const torch::Tensor& multimodal,
                   const torch::Tensor& unimodal);

  MultimodalModelImpl& model_;
  const Task& task_;
  std::vector<Sums> sums_;
};

/// The names of the parameters that get a gradient from `batch` by the routed pass of `route`. The
/// model stays as it is, as with GradientProbe.
std::set<std::string> reached_parameters(MultimodalModelImpl& model, const Task& task,
                                         const Batch& batch, const GradientRoute& route);

}  // namespace unbraid
