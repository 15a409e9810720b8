#pragma once

#include <cstdlib>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "media/fixtures.h"
#include "npy_file.h"
#include "unbraid/core/torch.h"
#include "unbraid/media/npy.h"

namespace unbraid::testing {

/// Writes float32 values; returns the path.
inline std::string write_array(const std::string& path, const torch::Tensor& tensor) {
  const torch::Tensor values = tensor.to(torch::kFloat).contiguous();
  const float* const first = values.data_ptr<float>();
  write_npy(path, values.sizes().vec(), {first, first + values.numel()});
  return path;
}

inline torch::Tensor read_array(const std::string& path) {
  const NpyArray array(content_of(path), path);
  torch::Tensor tensor = torch::empty(array.shape());
  array.read(0, {tensor.data_ptr<float>(), static_cast<size_t>(tensor.numel())});
  return tensor;
}

/// Runs a program; its output goes away.
inline void run(const std::string& command) {
  ASSERT_EQ(std::system((command + " >/dev/null 2>&1 </dev/null").c_str()), 0) << command;
}

/// What reference.py computes.
inline torch::Tensor reference(const TemporaryFolder& folder, const std::string& kind,
                               const std::string& input, const std::vector<std::string>& more) {
  const std::string output = folder.file("reference.npy");
  run(fmt::format("/usr/bin/python3 {}/tests/media/reference.py {} {} {} {}", UNBRAID_SOURCE_DIR,
                  kind, input, output, fmt::join(more, " ")));
  return read_array(output);
}

}  // namespace unbraid::testing
