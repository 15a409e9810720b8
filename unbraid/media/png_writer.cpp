#include "unbraid/media/png_writer.h"

#include <png.h>

#include "unbraid/core/error.h"

namespace unbraid {

void write_png(const std::string& path, int height, int width, int channels,
               std::span<const uint8_t> pixels) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(width);
  image.height = static_cast<png_uint_32>(height);
  image.format = channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  if (png_image_write_to_file(&image, path.c_str(), 0, pixels.data(), 0, nullptr) == 0) {
    throw StorageError(path + ": cannot write: " + image.message);
  }
}

}  // namespace unbraid
