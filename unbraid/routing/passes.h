#pragma once

#include <vector>

#include "unbraid/core/autocast.h"
#include "unbraid/core/torch.h"

namespace unbraid {

/// While it lives, no gradient reaches the parameters of `module`.
class CutParameters {
 public:
  CutParameters(torch::nn::Module& module, bool cut) {
    if (!cut) {
      return;
    }
    for (torch::Tensor& parameter : module.parameters()) {
      if (parameter.requires_grad()) {
        parameter.set_requires_grad(false);
        cut_.push_back(parameter);
      }
    }
  }
  ~CutParameters() {
    for (torch::Tensor& parameter : cut_) {
      parameter.set_requires_grad(true);
    }
  }
  CutParameters(const CutParameters&) = delete;
  CutParameters& operator=(const CutParameters&) = delete;

 private:
  std::vector<torch::Tensor> cut_;
};

/// Puts the buffers of `module` (running statistics) back when it dies. Backward must be over by
/// then: it may still read them.
class KeptBuffers {
 public:
  explicit KeptBuffers(torch::nn::Module& module, bool keep = true) {
    if (keep) {
      buffers_ = module.buffers();
      for (const torch::Tensor& buffer : buffers_) {
        saved_.push_back(buffer.detach().clone());
      }
    }
  }
  ~KeptBuffers() {
    const torch::NoGradGuard no_grad;
    for (size_t i = 0; i < buffers_.size(); ++i) {
      buffers_[i].copy_(saved_[i]);
    }
  }
  KeptBuffers(const KeptBuffers&) = delete;
  KeptBuffers& operator=(const KeptBuffers&) = delete;

 private:
  std::vector<torch::Tensor> buffers_;
  std::vector<torch::Tensor> saved_;
};

/// Adds to the gradients of `targets`, or of every leaf when there are none, those of `output`
/// times `gradient`, in the types that forward chose: automatic casting is off meanwhile.
inline void run_backward(const torch::Tensor& output, const torch::Tensor& gradient,
                         const std::vector<torch::Tensor>& targets = {}) {
  const AutocastGuard as_forward(output.device().type(), false);
  torch::autograd::backward({output}, {gradient}, false, false, targets);
}

}  // namespace unbraid
