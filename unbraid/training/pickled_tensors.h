#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "unbraid/core/pickle.h"
#include "unbraid/core/safetensors.h"

namespace unbraid {

/// A storage as a pickle of PyTorch refers to it.
struct PickledStorage {
  std::string key;
  torch::ScalarType type = torch::kFloat;
  int64_t size = 0;  // elements

  [[nodiscard]] uint64_t bytes() const;  // saturates
};

/// Fetches a storage as a vector of its type and size, both as asked for. Throws DataError.
using ReadStorage = std::function<torch::Tensor(const PickledStorage& storage)>;

/// The tensors of the state dict that `pickle` holds; see read_torch_file. Each storage is read
/// once.
NamedTensors read_pickled_tensors(const Pickle& pickle, const ReadStorage& read);

/// All storages that `pickle` refers to anywhere, by key.
std::map<std::string, PickledStorage> pickled_storages(const Pickle& pickle);

}  // namespace unbraid
