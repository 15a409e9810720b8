#include <webp/decode.h>

#include <algorithm>
#include <memory>

#include <fmt/format.h>

#include "unbraid/core/error.h"
#include "unbraid/media/image_codecs.h"
#include "unbraid/media/limits.h"

namespace unbraid {

torch::Tensor decode_webp(const std::string& content, const std::string& path) {
  const auto deadline = DecodeBudget::deadline();
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
  struct Closer {
    void operator()(WebPIDecoder* decoder) const { WebPIDelete(decoder); }
  };
  const std::unique_ptr<WebPIDecoder, Closer> decoder(
      WebPINewRGB(MODE_RGB, image.data_ptr<uint8_t>(), size, features.width * 3));
  if (decoder == nullptr) {
    throw std::bad_alloc();
  }
  // In steps, between which the time is looked at.
  const size_t step = std::max<size_t>(4096, content.size() / 32);
  VP8StatusCode status = VP8_STATUS_SUSPENDED;
  for (size_t given = 0; status == VP8_STATUS_SUSPENDED && given < content.size();) {
    DecodeBudget::require_time(deadline, path);
    given = std::min(given + step, content.size());
    status = WebPIUpdate(decoder.get(), bytes, given);
  }
  if (status != VP8_STATUS_OK) {
    throw DataError(fmt::format("{}: damaged or truncated WebP", path));
  }
  return image;
}

}  // namespace unbraid
