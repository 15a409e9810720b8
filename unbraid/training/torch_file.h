#pragma once

#include "unbraid/core/safetensors.h"
#include "unbraid/media/file.h"

namespace unbraid {

/// Whether a file starts like one of PyTorch's torch.save: a ZIP archive, or what it wrote before
/// version 1.6.
bool is_torch_file(const File& file);

/// The tensors of a state dict that torch.save wrote, in its order. A state dict under the key
/// "state_dict", "model_state_dict" or "model" is taken instead of what holds it, and prefixes that
/// wrappers give to every name ("module.", "_orig_mod.") are left out. Nothing of the file is run,
/// and what lies beside the state dict is not looked at. A tensor may be of any strides and share
/// memory with others, as in PyTorch; all of them together take no more memory than the file.
/// float64/32/16, bfloat16, int64/32/16/8, uint8 and bool are read. Throws DataError.
NamedTensors read_torch_file(const File& file);

}  // namespace unbraid
