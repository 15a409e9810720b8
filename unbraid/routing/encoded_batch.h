#pragma once

#include <vector>

#include "unbraid/core/batch.h"
#include "unbraid/models/multimodal_model.h"

namespace unbraid {

/// The features of a batch, cut from their encoders, and the way back into them: for methods whose
/// losses are more than a GradientRoute. A method computes any loss of `features()`, runs it
/// backward, and then calls `backward`, which runs each encoder backward once.
class EncodedBatch {
 public:
  /// Encodes `inputs` [M], undefined ones being absent, with their graphs.
  EncodedBatch(MultimodalModelImpl& model, const ModalityTensors& inputs);

  /// [B_m, …] each, leaves that take gradients unless their encoder is frozen; undefined: absent.
  [[nodiscard]] const ModalityTensors& features() const { return features_; }
  /// Runs each encoder backward with the gradient that its feature has got, times `weights[m]`
  /// (empty: 1), and frees its graph. A feature without gradient leaves its encoder alone.
  void backward(const std::vector<double>& weights = {});
  /// The gradients of the parameters of encoder m for `gradient` [B_m, …] at its feature, in the
  /// order of its parameters, undefined where none arrives. Nothing is added to the parameters'
  /// own gradients; the graph stays.
  [[nodiscard]] std::vector<torch::Tensor> parameter_gradients(size_t modality,
                                                               const torch::Tensor& gradient) const;

 private:
  MultimodalModelImpl& model_;
  ModalityTensors encoded_;   // with their graphs
  ModalityTensors features_;  // without
};

}  // namespace unbraid
