#pragma once

#include "unbraid/models/encoders/encoder.h"
#include "unbraid/models/multimodal_model.h"

namespace unbraid {

/// Whether `part`, an encoder or a fusion module, has a form in TorchScript.
bool has_torchscript(const torch::nn::Module& part);

/// A copy of `encoder` in TorchScript, on the CPU and in eval mode, with the same names of
/// parameters and buffers and `forward(x: Tensor) -> Tensor`.
torch::jit::Module to_torchscript(const Encoder& encoder);

/// The same for a whole model, whose parts all have a form in TorchScript: `forward` takes an
/// Optional[Tensor] for each modality in their order, named like it, None and the default being
/// that it is absent, and returns the fused output. A name that is a word of TorchScript, or an
/// argument that starts with a digit, has "modality_" in front.
torch::jit::Module to_torchscript(MultimodalModelImpl& model);

}  // namespace unbraid
