#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "unbraid/media/npy.h"

namespace unbraid::testing {

/// A float32 .npy file.
inline void write_npy(const std::filesystem::path& path, const std::vector<int64_t>& shape,
                      const std::vector<float>& values) {
  std::string header = fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({},), }}",
                                   fmt::join(shape, ", "));
  header.resize(118 - 1, ' ');
  std::ofstream(path, std::ios::binary)
      << kNpyMagic << std::string("\x01\0\x76\0", 4) << header << '\n'
      << std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
}

}  // namespace unbraid::testing
