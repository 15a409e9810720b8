#pragma once

#include <cstdint>
#include <string>

#include "unbraid/core/torch.h"
#include "unbraid/media/resize.h"

namespace unbraid {

// One function a codec: the content of a file to uint8 [height, width, 1 or 3], grey or RGB as it
// is stored. `path` is for the DataError only.
torch::Tensor decode_png(const std::string& content, const std::string& path);
torch::Tensor decode_webp(const std::string& content, const std::string& path);
/// What is outside of the part is undefined; it is looked through for damage all the same.
torch::Tensor decode_jpeg(const std::string& content, const std::string& path,
                          const PartOf& part_of = whole_image);

/// The numbers of a grey PNG, or the indices of one with a palette, as they are stored: [height,
/// width, 1], uint8, or int32 where they have 16 bits. Throws DataError for any other.
torch::Tensor decode_png_numbers(const std::string& content, const std::string& path);

/// How EXIF says that an image is to be turned, 1 (not at all) to 8; 1 where it says nothing.
/// `exif` is a JPEG, or what the next two found.
int exif_orientation(const std::string& exif);
/// The EXIF chunk of a PNG or of a WebP; "" where there is none.
std::string exif_of_png(const std::string& content);
std::string exif_of_webp(const std::string& content);

/// Throws DataError when a header's sizes are beyond what is decoded; see image.h.
void check_image_size(int64_t height, int64_t width, const std::string& path);

}  // namespace unbraid
