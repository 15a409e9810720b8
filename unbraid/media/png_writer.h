#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace unbraid {

/// Writes an 8-bit PNG, grey (channels = 1) or RGB (3); `pixels` row by row, height x width x
/// channels of them. Throws StorageError.
void write_png(const std::string& path, int height, int width, int channels,
               std::span<const uint8_t> pixels);

}  // namespace unbraid
