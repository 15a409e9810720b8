#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "unbraid/media/decoder.h"

namespace unbraid {

/// No larger image is decoded: the limits are tried on the header, before any pixel is allocated.
inline constexpr int64_t kMaxImagePixels = int64_t{64} << 20;
inline constexpr int64_t kMaxImageSide = 30000;
inline constexpr int64_t kMaxImageBytes = int64_t{256} << 20;  // of the file

/// A PNG or JPEG image (told by content, not by name) as uint8 [channels, height, width];
/// `channels` is 1 or 3. Colour becomes grey by ITU-R 601 and 16 bits become 8 by rounding.
/// Transparency, colour profiles and EXIF orientation are left out, as Pillow's convert leaves them
/// out. Throws DataError when the file is not whole, has a fault that the codec would pass over, or
/// is CMYK.
torch::Tensor read_image(const std::string& path, int64_t channels);

/// `image`, float [C, height, width], resized to [C, size, size] with antialiased bilinear
/// filtering.
torch::Tensor resize_image(const torch::Tensor& image, int64_t size);

struct ImageSettings {
  int64_t size = 224;  // side of the square that comes out
  int64_t channels = 3;
  bool augment = true;                                   // false turns off all that is random
  std::array<double, 2> crop_scale = {0.08, 1.0};        // of the image's area
  std::array<double, 2> crop_ratio = {0.75, 4.0 / 3.0};  // width / height
  double flip = 0.5;                                     // probability
};

/// kind = "image": `decode` gives uint8 [channels, height, width]; `transform` gives float
/// [channels, size, size], scaled to [0, 1], less `mean`, divided by `std`. In training with
/// `augment`, a random part is cut out first (its area a share of the image's in `crop_scale`, its
/// width / height in `crop_ratio`), and the result is flipped left to right with probability
/// `flip`. Otherwise the whole image is resized, whatever its proportions.
///
/// Keys: size = 224, channels = 3, augment = true, crop_scale = [0.08, 1.0],
/// crop_ratio = [0.75, 1.3333333333333333], flip = 0.5 (0 for anything with writing on it),
/// mean and std: a number for each channel, ImageNet's for 3 and 0.5, 0.5 for 1.
class ImageDecoder final : public Decoder {
 public:
  explicit ImageDecoder(Options& options);

  void check(const std::string& cell) const override;
  [[nodiscard]] torch::Tensor decode(const std::string& cell) const override;
  [[nodiscard]] torch::Tensor transform(const torch::Tensor& decoded,
                                        const SampleContext& context) const override;

 private:
  ImageSettings settings_;
  torch::Tensor mean_;  // [channels, 1, 1], as is std_
  torch::Tensor std_;
};

/// A part of an image, in pixels.
struct Crop {
  int64_t top = 0;
  int64_t left = 0;
  int64_t height = 0;
  int64_t width = 0;
};

/// A random part of an image of height x width: ten draws of area and proportions, of which the
/// first that fits is taken; else the largest centred part within the proportions allowed.
Crop random_crop(int64_t height, int64_t width, const ImageSettings& settings, RandomStream random);

}  // namespace unbraid
