#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "unbraid/media/decoder.h"
#include "unbraid/media/resize.h"

namespace unbraid {

/// As the number of channels: the two of optical flow, u and v.
inline constexpr int64_t kFlowChannels = 2;

struct ImageSettings {
  int64_t size = 224;                                    // side of the square that comes out
  int64_t channels = 3;                                  // 1 grey, 3 RGB, 2 optical flow (u and v)
  bool augment = true;                                   // false turns off all that is random
  std::array<double, 2> crop_scale = {0.08, 1.0};        // of the image's area
  std::array<double, 2> crop_ratio = {0.75, 4.0 / 3.0};  // width / height
  double flip = 0.5;                                     // probability
  std::array<double, 4> color_jitter = {0, 0, 0, 0};     // brightness, contrast, saturation, hue
};

/// A random part of an image of height x width: ten draws of area and proportions, of which the
/// first that fits is taken; else the largest centred part within the proportions allowed.
Crop random_crop(int64_t height, int64_t width, const ImageSettings& settings, RandomStream random);

/// `image`, float [1 or 3, height, width] in [0, 1], changed as torchvision's ColorJitter does, in
/// the order brightness, contrast, saturation, hue: `factors` multiply the first three (1 leaves
/// them), the last is added in turns of the colour circle (0 leaves it). Grey has no last two.
torch::Tensor jitter_colors(const torch::Tensor& image, const std::array<double, 4>& factors);

/// What turns decoded images into an encoder's input, for `image` and `video` alike: scaled to
/// [0, 1], less `mean`, divided by `std`. In training with `augment`, a random part is cut out
/// first (its area a share of the image's in `crop_scale`, its width / height in `crop_ratio`), the
/// result is flipped left to right with probability `flip` (of optical flow, u is negated then:
/// 255 - u) and its colours are changed. Otherwise the whole image is resized, whatever its
/// proportions.
///
/// Keys: size = 224, channels = 3, augment = true, crop_scale = [0.08, 1.0],
/// crop_ratio = [0.75, 1.3333333333333333], flip = 0.5 (0 for anything with writing on it),
/// color_jitter = [0, 0, 0, 0] (the largest changes of brightness, contrast, saturation and hue),
/// mean and std: a number for each channel, ImageNet's for 3, otherwise 0.5.
class ImageTransform {
 public:
  explicit ImageTransform(Options& options);

  [[nodiscard]] const ImageSettings& settings() const { return settings_; }
  /// The part of an image of that size that `apply` looks at.
  [[nodiscard]] Crop crop_of(int64_t height, int64_t width, const SampleContext& context,
                             const std::string& draw = "") const;
  /// uint8 [height, width, channels] to float [channels, size, size]. Calls with the same context
  /// and `draw` make the same random choices.
  [[nodiscard]] torch::Tensor apply(const torch::Tensor& image, const SampleContext& context,
                                    const std::string& draw = "") const;

 private:
  [[nodiscard]] bool is_random(const SampleContext& context) const {
    return settings_.augment && context.training;
  }
  // To [0, 1], u of flow negated where it is mirrored, less mean, divided by std.
  [[nodiscard]] PixelScaling normalizing(bool flip) const;

  ImageSettings settings_;
  std::vector<double> mean_;  // by channel, as is std_
  std::vector<double> std_;
};

}  // namespace unbraid
