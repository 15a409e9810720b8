#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "unbraid/core/torch.h"

namespace unbraid {

using NamedTensors = std::vector<std::pair<std::string, torch::Tensor>>;

struct SafetensorsFile {
  NamedTensors tensors;  // on the CPU, contiguous, each with memory of its own
  std::map<std::string, std::string> metadata;
};

/// Writes float64/32/16, bfloat16, int64/32/16/8, uint8 and bool tensors, bit for bit, in the
/// safetensors format (u64 length of the header, JSON header, data). Tensors of any strides and any
/// device; names unique and UTF-8, "__metadata__" reserved. The file is replaced as a whole and is
/// on the disk when the call returns; on a failure (StorageError) the previous one is intact.
void write_safetensors(const std::string& path, const NamedTensors& tensors,
                       const std::map<std::string, std::string>& metadata = {});

/// Reads the tensors in the order of the header. The file is not trusted: everything about it is
/// checked before memory for its data is allocated. A StorageError names what is wrong.
SafetensorsFile read_safetensors(const std::string& path);

}  // namespace unbraid
