#pragma once

#include <vector>

#include "unbraid/methods/method.h"

namespace unbraid {

/// The output of each modality alone [B_m, …], without graph; the fusion's running statistics stay
/// as they were. Undefined for undefined features.
ModalityTensors outputs_alone(MultimodalModelImpl& model, const ModalityTensors& features);

/// The fused output [B, …], in the same way.
torch::Tensor output_of_all(MultimodalModelImpl& model, const ModalityTensors& features,
                            const Presence& presence);

/// The same values in float, unless they are in double.
torch::Tensor at_least_float(const torch::Tensor& values);

/// One vector for each sample, in at least float: of tokens [B, T, d] and maps [B, d, H, W] their
/// mean.
torch::Tensor pooled(const torch::Tensor& feature);

/// What each modality has in the fused output: `alone` [B_m, C], the outputs of each modality
/// alone, plus an equal share of what `fused` [B, C] has beyond their sum, so that the sum over a
/// sample's modalities is `fused`. For a concatenation W_m z_m + b / M, for a sum W_m z_m + b_m:
/// the sliced logits of OGM (Peng et al., CVPR 2022) and its followers, for any fusion.
ModalityTensors shares_of_output(const ModalityTensors& alone, const torch::Tensor& fused,
                                 const Presence& presence);

/// The mean over the samples of softmax(logits[m])[label], for each modality; NaN where it is
/// undefined. `logits` [B_m, C], `target` [B] int64.
std::vector<double> true_class_probabilities(const ModalityTensors& logits,
                                             const torch::Tensor& target, const Presence& presence);

/// Throws RecipeError unless the task tells one class from several, which methods that look at
/// probabilities need.
void expect_classification(const Options& options, const MethodContext& context);

/// Throws RecipeError unless there are two modalities or more to weigh against each other.
void expect_several_modalities(const Options& options, const MethodContext& context);

/// The route that a method re-weights: `base` is "joint" (the default) or "dgl", the latter with
/// `base_alpha` (default 4).
GradientRoute read_base(Options& options);

/// Throws RecipeError where a recipe gives a `base` to a method that takes none, `why` being what
/// stands against it.
void refuse_base(const Options& options, const std::string& why);

}  // namespace unbraid
