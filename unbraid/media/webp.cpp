#include <webp/decode.h>

#include <fmt/format.h>

#include "unbraid/core/error.h"
#include "unbraid/media/image_codecs.h"

namespace unbraid {

torch::Tensor decode_webp(const std::string& content, const std::string& path) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(content.data());
  WebPBitstreamFeatures features;
  if (WebPGetFeatures(bytes, content.size(), &features) != VP8_STATUS_OK) {
    throw DataError(fmt::format("{}: damaged or truncated WebP", path));
  }
  check_image_size(features.height, features.width, path);
  if (features.has_animation != 0) {
    throw DataError(fmt::format("{}: expected a still image, found an animated WebP", path));
  }
  torch::Tensor image = torch::empty({features.height, features.width, 3}, torch::kUInt8);
  const auto size = static_cast<size_t>(image.numel());
  if (WebPDecodeRGBInto(bytes, content.size(), image.data_ptr<uint8_t>(), size,
                        features.width * 3) == nullptr) {
    throw DataError(fmt::format("{}: damaged or truncated WebP", path));
  }
  return image;
}

}  // namespace unbraid
