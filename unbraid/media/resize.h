#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "unbraid/core/torch.h"

namespace unbraid {

/// A part of an image, in pixels.
struct Crop {
  int64_t top = 0;
  int64_t left = 0;
  int64_t height = 0;
  int64_t width = 0;
};

/// The part of an image of that size that is going to be looked at.
using PartOf = std::function<Crop(int64_t height, int64_t width)>;
inline Crop whole_image(int64_t height, int64_t width) { return {0, 0, height, width}; }

/// What pixel values 0 to 255 become, by channel: value * scale + shift.
struct PixelScaling {
  std::vector<float> scale;
  std::vector<float> shift;
};

/// The part `crop` of `image`, uint8 [height, width, channels] with 1 to 3 channels, resized with
/// antialiased bilinear filtering (as Pillow does, which rounds in between where this does not) to
/// float [channels, size, size], mirrored left to right where `flip` says so, then scaled.
torch::Tensor resize_crop(const torch::Tensor& image, const Crop& crop, int64_t size, bool flip,
                          const PixelScaling& scaling);

}  // namespace unbraid
