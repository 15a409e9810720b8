#include "unbraid/media/image.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <fmt/format.h>

#include "unbraid/media/file.h"
#include "unbraid/media/image_codecs.h"

namespace unbraid {
namespace {

// uint8 [height, width, 3] to [height, width, 1] with the integers of Pillow's mode "L".
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

std::array<double, 2> read_interval(Options& options, const std::string& key,
                                    std::array<double, 2> fallback, double max) {
  const std::vector<double> ends = options.numbers(
      key, std::vector<double>{fallback[0], fallback[1]}, {0.0, max, /*open_min=*/true});
  if (ends.size() != 2 || ends[0] > ends[1]) {
    throw options.error(key, "expected [smallest, largest]");
  }
  return {ends[0], ends[1]};
}

// A number for each channel as [channels, 1, 1].
torch::Tensor read_channels(Options& options, const std::string& key, int64_t channels,
                            const std::vector<double>& of_colour, Range range) {
  const auto values =
      options.numbers(key, channels == 3 ? of_colour : std::vector<double>{0.5}, range);
  if (static_cast<int64_t>(values.size()) != channels) {
    throw options.error(key, fmt::format("expected {} numbers (one for each channel), got {}",
                                         channels, values.size()));
  }
  return torch::tensor(values, torch::kFloat).view({channels, 1, 1});
}

ImageSettings read_settings(Options& options) {
  ImageSettings settings;
  settings.size = options.integer("size", settings.size, {1, 4096});
  settings.channels = options.integer("channels", settings.channels, {1, 3});
  if (settings.channels == 2) {
    throw options.error("channels", "expected 1 (grey) or 3 (RGB), got 2");
  }
  settings.augment = options.boolean("augment", settings.augment);
  settings.crop_scale = read_interval(options, "crop_scale", settings.crop_scale, 1.0);
  settings.crop_ratio = read_interval(options, "crop_ratio", settings.crop_ratio, 100.0);
  settings.flip = options.number("flip", settings.flip, {0.0, 1.0});
  return settings;
}

}  // namespace

void check_image_size(int64_t height, int64_t width, const std::string& path) {
  if (height < 1 || width < 1 || height > kMaxImageSide || width > kMaxImageSide ||
      height * width > kMaxImagePixels) {
    throw DataError(fmt::format(
        "{}: expected an image of at most {} pixels and {} a side, its header says {} x {}", path,
        kMaxImagePixels, kMaxImageSide, width, height));
  }
}

torch::Tensor read_image(const std::string& path, int64_t channels) {
  const std::string content = read_file(path, kMaxImageBytes);
  torch::Tensor image;
  if (content.starts_with("\x89PNG\r\n\x1a\n")) {
    image = decode_png(content, path);
  } else if (content.starts_with("\xff\xd8\xff")) {
    image = decode_jpeg(content, path);
  } else {
    throw DataError(fmt::format("{}: expected a PNG or JPEG image, its content is neither", path));
  }
  if (channels == 1 && image.size(2) == 3) {
    image = to_grey(image);
  }
  return image.permute({2, 0, 1}).expand({channels, -1, -1}).contiguous();
}

torch::Tensor resize_image(const torch::Tensor& image, int64_t size) {
  return torch::_upsample_bilinear2d_aa(image.unsqueeze(0), {size, size},
                                        /*align_corners=*/false)
      .squeeze(0);
}

Crop random_crop(int64_t height, int64_t width, const ImageSettings& settings,
                 RandomStream random) {
  const auto [min_scale, max_scale] = settings.crop_scale;
  const auto [min_ratio, max_ratio] = settings.crop_ratio;
  const auto rounded = [](double value) { return static_cast<int64_t>(std::llround(value)); };
  const auto tall = static_cast<double>(height);
  const auto wide = static_cast<double>(width);
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double area = tall * wide * random.uniform(min_scale, max_scale);
    const double ratio = std::exp(random.uniform(std::log(min_ratio), std::log(max_ratio)));
    const int64_t crop_width = rounded(std::sqrt(area * ratio));
    const int64_t crop_height = rounded(std::sqrt(area / ratio));
    if (crop_width >= 1 && crop_width <= width && crop_height >= 1 && crop_height <= height) {
      const auto top = static_cast<int64_t>(random.below(height - crop_height + 1));
      const auto left = static_cast<int64_t>(random.below(width - crop_width + 1));
      return {top, left, crop_height, crop_width};
    }
  }
  const double ratio = std::clamp(wide / tall, min_ratio, max_ratio);
  const int64_t crop_width = std::clamp<int64_t>(rounded(tall * ratio), 1, width);
  const int64_t crop_height = std::clamp<int64_t>(rounded(wide / ratio), 1, height);
  return {(height - crop_height) / 2, (width - crop_width) / 2, crop_height, crop_width};
}

ImageDecoder::ImageDecoder(Options& options)
    : settings_(read_settings(options)),
      mean_(read_channels(options, "mean", settings_.channels, {0.485, 0.456, 0.406}, Range())),
      std_(read_channels(options, "std", settings_.channels, {0.229, 0.224, 0.225},
                         {0.0, std::numeric_limits<double>::infinity(), true})) {}

void ImageDecoder::check(const std::string& cell) const { check_file(cell); }

torch::Tensor ImageDecoder::decode(const std::string& cell) const {
  return read_image(cell, settings_.channels);
}

torch::Tensor ImageDecoder::transform(const torch::Tensor& decoded,
                                      const SampleContext& context) const {
  torch::Tensor image = decoded;
  bool flip = false;
  if (settings_.augment && context.training) {
    const Crop crop = random_crop(image.size(1), image.size(2), settings_, context.random("crop"));
    image = image.narrow(1, crop.top, crop.height).narrow(2, crop.left, crop.width);
    flip = context.random("flip").uniform() < settings_.flip;
  }
  image = (resize_image(image.to(torch::kFloat), settings_.size) / 255.0 - mean_) / std_;
  return flip ? image.flip(2) : image;
}

}  // namespace unbraid
