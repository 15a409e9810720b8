#pragma once

#include "unbraid/core/torch.h"

namespace unbraid {

/// Whether automatic casting is on in this thread for operations on `device`, and to what.
bool autocast_enabled(torch::DeviceType device);
at::ScalarType autocast_type(torch::DeviceType device);

/// While it lives, automatic casting to bfloat16 is on (or off) in this thread for operations on
/// `device`: convolutions and matrix products compute in bfloat16, parameters and their gradients
/// stay float.
class AutocastGuard {
 public:
  AutocastGuard(torch::DeviceType device, bool enabled);
  ~AutocastGuard();
  AutocastGuard(const AutocastGuard&) = delete;
  AutocastGuard& operator=(const AutocastGuard&) = delete;

 private:
  torch::DeviceType device_;
  bool was_enabled_;
  at::ScalarType dtype_before_;
};

/// Forgets the parameters' bfloat16 copies, which belong to a graph: called between two graphs.
void clear_autocast_cache();

}  // namespace unbraid
