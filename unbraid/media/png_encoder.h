#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace unbraid {

/// The content of an 8-bit PNG file, grey (channels = 1) or RGB (3); `pixels` row by row, height x
/// width x channels of them.
std::string encode_png(int height, int width, int channels, std::span<const uint8_t> pixels);

}  // namespace unbraid
