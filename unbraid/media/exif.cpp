#include <libexif/exif-data.h>

#include <memory>

#include <fmt/format.h>

#include "unbraid/media/file.h"
#include "unbraid/media/image_codecs.h"

namespace unbraid {
namespace {

struct Releaser {
  void operator()(ExifData* data) const { exif_data_unref(data); }
};

// As libexif wants it; the containers may leave the first six bytes out.
std::string with_mark(const std::string& exif) {
  const std::string mark("Exif\0\0", 6);
  return exif.starts_with(mark) ? exif : fmt::format("{}{}", mark, exif);
}

}  // namespace

std::string exif_of_png(const std::string& content) {
  constexpr size_t kFrame = 12;  // length, type and checksum of a chunk
  for (size_t at = 8; at + kFrame <= content.size();) {
    size_t size = 0;
    for (size_t i = 0; i < 4; ++i) {
      size = size << 8 | static_cast<unsigned char>(content[at + i]);
    }
    if (size > content.size() - at - kFrame) {
      break;
    }
    if (content.compare(at + 4, 4, "eXIf") == 0) {
      return with_mark(content.substr(at + 8, size));
    }
    at += kFrame + size;
  }
  return "";
}

std::string exif_of_webp(const std::string& content) {
  for (size_t at = 12; at + 8 <= content.size();) {
    const size_t size = little_endian(content, at + 4);
    if (size > content.size() - at - 8) {
      break;
    }
    if (content.compare(at, 4, "EXIF") == 0) {
      return with_mark(content.substr(at + 8, size));
    }
    at += 8 + size + size % 2;
  }
  return "";
}

int exif_orientation(const std::string& exif) {
  const std::unique_ptr<ExifData, Releaser> data(exif_data_new_from_data(
      reinterpret_cast<const unsigned char*>(exif.data()), static_cast<unsigned int>(exif.size())));
  const ExifEntry* entry =
      data == nullptr ? nullptr
                      : exif_content_get_entry(data->ifd[EXIF_IFD_0], EXIF_TAG_ORIENTATION);
  if (entry == nullptr || entry->format != EXIF_FORMAT_SHORT || entry->size < 2) {
    return 1;
  }
  const int orientation = exif_get_short(entry->data, exif_data_get_byte_order(data.get()));
  return orientation >= 1 && orientation <= 8 ? orientation : 1;
}

}  // namespace unbraid
