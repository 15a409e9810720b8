#pragma once

// The one place that includes LibTorch and knows about its versions. clang up to 19 rejects
// LibTorch 1.13 at C++20 unless ivalue.h, where IValue is completed, comes before everything else.
#include <ATen/core/ivalue.h>
// clang-format off
#include <torch/torch.h>
// clang-format on
#include <torch/version.h>

#define UNBRAID_TORCH_AT_LEAST(major, minor) \
  (TORCH_VERSION_MAJOR > (major) ||          \
   (TORCH_VERSION_MAJOR == (major) && TORCH_VERSION_MINOR >= (minor)))

#if !UNBRAID_TORCH_AT_LEAST(1, 13)
#error "Unbraid needs LibTorch 1.13 or newer"
#endif
