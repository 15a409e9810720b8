#pragma once

#include "unbraid/models/encoders/encoder.h"
#include "unbraid/models/multimodal_model.h"

namespace unbraid {

/// Whether `part`, an encoder or a fusion module, has a form in TorchScript.
bool has_torchscript(const torch::nn::Module& part);

/// A copy of `encoder` in TorchScript, on the CPU and in eval mode, with the same names of
/// parameters and buffers and `forward(x: Tensor) -> Tensor`.
torch::jit::Module to_torchscript(const Encoder& encoder);

/// What `forward` of a whole model calls the argument of a modality: its name, or, where that is a
/// word of TorchScript or starts with a digit, with "modality_" in front.
std::string argument_name(const std::string& modality);

/// The same for a whole model, whose parts all have a form in TorchScript: `forward` takes an
/// Optional[Tensor] for each modality in their order, named as argument_name says, None and the
/// default being that it is absent, and returns the fused output.
torch::jit::Module to_torchscript(MultimodalModelImpl& model);

}  // namespace unbraid
