#include "unbraid/media/image.h"

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "unbraid/media/file.h"
#include "unbraid/media/image_codecs.h"
#include "unbraid/media/limits.h"

namespace unbraid {
namespace {

// [height, width, channels] as EXIF's `orientation` (1 to 8) wants it shown.
torch::Tensor oriented(const torch::Tensor& image, int orientation) {
  switch (orientation) {
    case 2:
      return image.flip(1);
    case 3:
      return image.flip({0, 1});
    case 4:
      return image.flip(0);
    case 5:
      return image.transpose(0, 1);
    case 6:
      return image.transpose(0, 1).flip(1);
    case 7:
      return image.transpose(0, 1).flip({0, 1});
    case 8:
      return image.transpose(0, 1).flip(0);
    default:
      return image;
  }
}

}  // namespace

void check_image_size(int64_t height, int64_t width, const std::string& path) {
  if (height < 1 || width < 1 || height > kMaxImageSide || width > kMaxImageSide ||
      height * width > kMaxImagePixels) {
    throw DataError(fmt::format(
        "{}: expected an image of at most {} pixels and {} a side, its header says {} x {}", path,
        kMaxImagePixels, kMaxImageSide, width, height));
  }
  DecodeBudget::require_memory(height * width * 3, path);
}

torch::Tensor to_grey(const torch::Tensor& image) {
  const torch::Tensor colours = image.contiguous();
  torch::Tensor grey = torch::empty({image.size(0), image.size(1), 1}, torch::kUInt8);
  const uint8_t* colour = colours.data_ptr<uint8_t>();
  uint8_t* const values = grey.data_ptr<uint8_t>();
  for (int64_t i = 0; i < grey.numel(); ++i, colour += 3) {
    const int sum = 19595 * colour[0] + 38470 * colour[1] + 7471 * colour[2];
    values[i] = static_cast<uint8_t>((sum + 0x8000) >> 16);
  }
  return grey;
}

torch::Tensor read_image(const std::string& path, int64_t channels, const PartOf& part_of) {
  const std::string content =
      read_file(path, std::min(kMaxImageBytes, DecodeBudget::limits().bytes));
  torch::Tensor image;
  int orientation = 1;
  if (content.starts_with("\x89PNG\r\n\x1a\n")) {
    image = decode_png(content, path);
    orientation = exif_orientation(exif_of_png(content));
  } else if (content.starts_with("\xff\xd8\xff")) {
    image = decode_jpeg(content, path, [&](int64_t height, int64_t width) {
      orientation = exif_orientation(content);
      return orientation == 1 ? part_of(height, width) : whole_image(height, width);
    });
  } else if (content.starts_with("RIFF") &&
             std::string_view(content).substr(0, 12).ends_with("WEBP")) {
    image = decode_webp(content, path);
    orientation = exif_orientation(exif_of_webp(content));
  } else {
    throw DataError(
        fmt::format("{}: expected a PNG, JPEG or WebP image, its content is none of them", path));
  }
  if (channels == 1 && image.size(2) == 3) {
    image = to_grey(image);
  }
  image = oriented(image, orientation);
  return image.expand({-1, -1, channels}).contiguous();
}

std::vector<std::string> paths_of(const std::string& cell, int64_t channels) {
  if (channels != kFlowChannels) {
    return {cell};
  }
  const size_t middle = cell.find(kPairSeparator);
  if (middle == std::string::npos || cell.find(kPairSeparator, middle + 1) != std::string::npos) {
    throw DataError(fmt::format("expected the paths of u and v of optical flow, 'u{}v', found '{}'",
                                kPairSeparator, cell));
  }
  std::vector<std::string> paths = {cell.substr(0, middle), cell.substr(middle + 1)};
  if (paths[0].empty() || paths[1].empty()) {
    throw DataError(
        fmt::format("expected the paths of u and v of optical flow, one is empty in '{}'", cell));
  }
  return paths;
}

torch::Tensor read_images(const std::vector<std::string>& paths, int64_t channels,
                          const PartOf& part_of) {
  if (paths.size() == 1) {
    return read_image(paths.front(), channels, part_of);
  }
  std::vector<torch::Tensor> parts;
  for (const std::string& path : paths) {
    parts.push_back(read_image(path, 1, part_of));
    if (parts.back().sizes() != parts.front().sizes()) {
      throw DataError(fmt::format("{}: expected an image of the size of {}, {} x {}, found {} x {}",
                                  path, paths.front(), parts.front().size(1), parts.front().size(0),
                                  parts.back().size(1), parts.back().size(0)));
    }
  }
  return torch::cat(parts, 2);
}

std::string resolve_paths(const std::string& cell, const std::string& folder, int64_t channels) {
  std::vector<std::string> paths = paths_of(cell, channels);
  for (std::string& path : paths) {
    path = (std::filesystem::path(folder) / path).string();
  }
  return fmt::format("{}", fmt::join(paths, std::string_view(&kPairSeparator, 1)));
}

std::string ImageDecoder::resolve(const std::string& cell, const std::string& folder) const {
  return resolve_paths(cell, folder, channels());
}

void ImageDecoder::check(const std::string& cell) const {
  for (const std::string& path : files(cell)) {
    check_file(path);
  }
}

std::vector<std::string> ImageDecoder::files(const std::string& cell) const {
  return paths_of(cell, channels());
}

torch::Tensor ImageDecoder::decode(const std::string& cell) const {
  return read_images(files(cell), channels());
}

std::string ImageDecoder::cache_key(const std::string& cell) const {
  std::string key = fmt::format("image 2 {}\n", channels());
  for (const std::string& path : files(cell)) {
    key += file_stamp(path);
  }
  return key;
}

torch::Tensor ImageDecoder::transform(const torch::Tensor& decoded,
                                      const SampleContext& context) const {
  return transform_.apply(decoded, context);
}

torch::Tensor ImageDecoder::load(const std::string& cell, const SampleContext& context) const {
  const PartOf part_of = [&](int64_t height, int64_t width) {
    return transform_.crop_of(height, width, context);
  };
  return transform(read_images(files(cell), channels(), part_of), context);
}

}  // namespace unbraid
