#include "unbraid/media/image_transform.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <fmt/format.h>

namespace unbraid {
namespace {

std::array<double, 2> read_interval(Options& options, const std::string& key,
                                    std::array<double, 2> fallback, double max) {
  const std::vector<double> ends = options.numbers(
      key, std::vector<double>{fallback[0], fallback[1]}, {0.0, max, /*open_min=*/true});
  if (ends.size() != 2 || ends[0] > ends[1]) {
    throw options.error(key, "expected [smallest, largest]");
  }
  return {ends[0], ends[1]};
}

// A number for each channel.
std::vector<double> read_channels(Options& options, const std::string& key, int64_t channels,
                                  const std::vector<double>& of_color, Range range) {
  const auto fallback =
      channels == 3 ? of_color : std::vector<double>(static_cast<size_t>(channels), 0.5);
  std::vector<double> values = options.numbers(key, fallback, range);
  if (static_cast<int64_t>(values.size()) != channels) {
    throw options.error(key, fmt::format("expected {} numbers (one for each channel), got {}",
                                         channels, values.size()));
  }
  return values;
}

std::array<double, 4> read_color_jitter(Options& options, int64_t channels) {
  const auto given =
      options.numbers("color_jitter", std::vector<double>(4, 0.0), {.min = 0.0, .max = 1.0});
  if (given.size() != 4 || given[3] > 0.5) {
    throw options.error("color_jitter",
                        "expected [brightness, contrast, saturation, hue], hue at most 0.5");
  }
  const bool any = std::any_of(given.begin(), given.end(), [](double most) { return most > 0; });
  if (channels == kFlowChannels && any) {
    throw options.error("color_jitter", "expected zeros: optical flow has no colours");
  }
  return {given[0], given[1], given[2], given[3]};
}

ImageSettings read_settings(Options& options) {
  ImageSettings settings;
  settings.size = options.integer("size", settings.size, {1, 4096});
  settings.channels = options.integer("channels", settings.channels, {1, 3});
  settings.augment = options.boolean("augment", settings.augment);
  settings.crop_scale = read_interval(options, "crop_scale", settings.crop_scale, 1.0);
  settings.crop_ratio = read_interval(options, "crop_ratio", settings.crop_ratio, 100.0);
  settings.flip = options.number("flip", settings.flip, {0.0, 1.0});
  settings.color_jitter = read_color_jitter(options, settings.channels);
  return settings;
}

// ITU-R 601, as torchvision rounds it.
torch::Tensor grey_of(const torch::Tensor& image) {
  return image.size(0) == 1 ? image : 0.2989 * image[0] + 0.587 * image[1] + 0.114 * image[2];
}

torch::Tensor blend(const torch::Tensor& image, const torch::Tensor& other, double share) {
  return (image * share + other * (1.0 - share)).clamp(0.0, 1.0);
}

// Red, green and blue in [0, 1] turned by `turns` of the circle of hues.
torch::Tensor turn_hue(const torch::Tensor& image, double turns) {
  const torch::Tensor largest = image.amax(0);
  const torch::Tensor range = largest - image.amin(0);
  const torch::Tensor safe = torch::where(range > 0, range, torch::ones_like(range));
  const torch::Tensor red = (image[1] - image[2]) / safe;
  const torch::Tensor green = (image[2] - image[0]) / safe + 2.0;
  const torch::Tensor blue = (image[0] - image[1]) / safe + 4.0;
  const torch::Tensor sector =
      torch::where(largest == image[0], red, torch::where(largest == image[1], green, blue));
  const torch::Tensor hue = torch::remainder(sector / 6.0 + turns, 1.0) * 6.0;
  std::vector<torch::Tensor> channels;
  for (const double place : {5.0, 3.0, 1.0}) {
    const torch::Tensor k = torch::remainder(hue + place, 6.0);
    channels.push_back(largest - range * torch::minimum(k, 4.0 - k).clamp(0.0, 1.0));
  }
  return torch::stack(channels);
}

// What the channels are multiplied by, and the turn of the hue, for the largest changes allowed.
std::array<double, 4> draw_factors(const std::array<double, 4>& most, RandomStream random) {
  std::array<double, 4> factors{};
  for (size_t i = 0; i < 3; ++i) {
    factors[i] = random.uniform(std::max(0.0, 1.0 - most[i]), 1.0 + most[i]);
  }
  factors[3] = random.uniform(-most[3], most[3]);
  return factors;
}

}  // namespace

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

torch::Tensor jitter_colors(const torch::Tensor& image, const std::array<double, 4>& factors) {
  const auto [brightness, contrast, saturation, hue] = factors;
  torch::Tensor changed = (image * brightness).clamp(0.0, 1.0);
  changed = blend(changed, grey_of(changed).mean(), contrast);
  if (image.size(0) == 3) {
    changed = turn_hue(blend(changed, grey_of(changed), saturation), hue);
  }
  return changed;
}

ImageTransform::ImageTransform(Options& options)
    : settings_(read_settings(options)),
      mean_(read_channels(options, "mean", settings_.channels, {0.485, 0.456, 0.406}, Range())),
      std_(read_channels(options, "std", settings_.channels, {0.229, 0.224, 0.225},
                         {0.0, std::numeric_limits<double>::infinity(), true})) {}

Crop ImageTransform::crop_of(int64_t height, int64_t width, const SampleContext& context,
                             const std::string& draw) const {
  return is_random(context) ? random_crop(height, width, settings_, context.random("crop" + draw))
                            : whole_image(height, width);
}

torch::Tensor ImageTransform::apply(const torch::Tensor& image, const SampleContext& context,
                                    const std::string& draw) const {
  const Crop crop = crop_of(image.size(0), image.size(1), context, draw);
  const bool random = is_random(context);
  const bool flip = random && context.random("flip" + draw).uniform() < settings_.flip;
  if (!random || settings_.color_jitter == std::array<double, 4>{0, 0, 0, 0}) {
    return resize_crop(image, crop, settings_.size, flip, normalizing(flip));
  }
  const PixelScaling to_unit{std::vector<float>(mean_.size(), 1.0F / 255.0F),
                             std::vector<float>(mean_.size(), 0.0F)};
  const torch::Tensor changed =
      jitter_colors(resize_crop(image, crop, settings_.size, flip, to_unit),
                    draw_factors(settings_.color_jitter, context.random("color" + draw)));
  const auto by_channel = [](const std::vector<double>& values) {
    return torch::tensor(values, torch::kFloat).view({-1, 1, 1});
  };
  return (changed - by_channel(mean_)) / by_channel(std_);
}

PixelScaling ImageTransform::normalizing(bool flip) const {
  PixelScaling scaling;
  for (size_t c = 0; c < mean_.size(); ++c) {
    double scale = 1.0 / (255.0 * std_[c]);
    double shift = -mean_[c] / std_[c];
    if (flip && c == 0 && settings_.channels == kFlowChannels) {
      shift += 255.0 * scale;
      scale = -scale;
    }
    scaling.scale.push_back(static_cast<float>(scale));
    scaling.shift.push_back(static_cast<float>(shift));
  }
  return scaling;
}

}  // namespace unbraid
