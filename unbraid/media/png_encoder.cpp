#include "unbraid/media/png_encoder.h"

#include <png.h>

#include <stdexcept>

namespace unbraid {

std::string encode_png(int height, int width, int channels, std::span<const uint8_t> pixels) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(width);
  image.height = static_cast<png_uint_32>(height);
  image.format = channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  // In memory: libpng removes the file that it cannot write, whatever that is.
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(image);
  std::string content(size, '\0');
  if (png_image_write_to_memory(&image, content.data(), &size, 0, pixels.data(), 0, nullptr) == 0) {
    throw std::runtime_error(std::string("cannot make a PNG: ") + image.message);
  }
  content.resize(size);
  return content;
}

}  // namespace unbraid
