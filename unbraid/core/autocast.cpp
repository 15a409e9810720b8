#include "unbraid/core/autocast.h"

#include <ATen/autocast_mode.h>

namespace unbraid {
namespace {

#if UNBRAID_TORCH_AT_LEAST(2, 4)
void set(torch::DeviceType device, bool enabled, at::ScalarType type) {
  at::autocast::set_autocast_dtype(device, type);
  at::autocast::set_autocast_enabled(device, enabled);
}
#else
void set(torch::DeviceType device, bool enabled, at::ScalarType type) {
  if (device == torch::kCPU) {
    at::autocast::set_autocast_cpu_dtype(type);
    at::autocast::set_cpu_enabled(enabled);
  } else {
    at::autocast::set_autocast_gpu_dtype(type);
    at::autocast::set_enabled(enabled);
  }
}
#endif

}  // namespace

#if UNBRAID_TORCH_AT_LEAST(2, 4)
bool autocast_enabled(torch::DeviceType device) {
  return at::autocast::is_autocast_enabled(device);
}
at::ScalarType autocast_type(torch::DeviceType device) {
  return at::autocast::get_autocast_dtype(device);
}
#else
bool autocast_enabled(torch::DeviceType device) {
  return device == torch::kCPU ? at::autocast::is_cpu_enabled() : at::autocast::is_enabled();
}
at::ScalarType autocast_type(torch::DeviceType device) {
  return device == torch::kCPU ? at::autocast::get_autocast_cpu_dtype()
                               : at::autocast::get_autocast_gpu_dtype();
}
#endif

AutocastGuard::AutocastGuard(torch::DeviceType device, bool enabled)
    : device_(device),
      was_enabled_(autocast_enabled(device)),
      dtype_before_(autocast_type(device)) {
  at::autocast::increment_nesting();
  set(device, enabled, at::kBFloat16);
}

AutocastGuard::~AutocastGuard() {
  set(device_, was_enabled_, dtype_before_);
  if (at::autocast::decrement_nesting() == 0) {
    at::autocast::clear_cache();
  }
}

void clear_autocast_cache() { at::autocast::clear_cache(); }

}  // namespace unbraid
