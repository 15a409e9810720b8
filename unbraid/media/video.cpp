#include "unbraid/media/video.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>

#include <fmt/format.h>

#include "unbraid/media/container.h"
#include "unbraid/media/file.h"
#include "unbraid/media/image.h"
#include "unbraid/media/limits.h"

namespace unbraid {
namespace {

namespace fs = std::filesystem;

/// The frames that a clip has to choose from.
class Clip {
 public:
  virtual ~Clip() = default;
  [[nodiscard]] virtual int64_t size() const = 0;
  /// uint8 [height, width, channels] each; `numbers` ascending, one may be there twice. Where there
  /// are `parts`, by number, pixels outside of them may be left undefined.
  [[nodiscard]] virtual std::vector<torch::Tensor> read(const std::vector<int64_t>& numbers,
                                                        const std::vector<PartOf>& parts) = 0;
};

/// A picture, where FFmpeg would fill in what a damaged one lacks; not a film of them.
bool is_jpeg(const std::string& path) {
  const std::string extension = extension_of(path);
  return extension != ".mjpeg" && extension != ".mjpg" && File(path).read(0, 3) == "\xff\xd8\xff";
}

bool is_folder(const std::string& path) {
  std::error_code failure;
  return fs::is_directory(path, failure);
}

std::vector<std::string> images_of(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code failure;
  for (fs::directory_iterator entry(folder, failure), end; !failure && entry != end;
       entry.increment(failure)) {
    if (is_image_name(entry->path())) {
      names.push_back(entry->path().string());
    }
  }
  if (failure) {
    throw DataError(fmt::format("{}: cannot be read: {}", folder, failure.message()));
  }
  if (names.empty()) {
    throw DataError(
        fmt::format("{}: expected images (.jpg, .png, .webp) in this folder, found none", folder));
  }
  std::sort(names.begin(), names.end(), numbered_before);
  return names;
}

/// Folders of images, or single ones, one for each of a pair.
class ImageClip final : public Clip {
 public:
  ImageClip(const std::vector<std::string>& paths, int64_t channels) : channels_(channels) {
    for (const std::string& path : paths) {
      images_.push_back(is_folder(path) ? images_of(path) : std::vector<std::string>{path});
      if (images_.back().size() != images_.front().size()) {
        throw DataError(fmt::format("{}: expected {} images as in {}, found {}", path,
                                    images_.front().size(), paths.front(), images_.back().size()));
      }
    }
  }

  [[nodiscard]] int64_t size() const override {
    return static_cast<int64_t>(images_.front().size());
  }

  [[nodiscard]] std::vector<torch::Tensor> read(const std::vector<int64_t>& numbers,
                                                const std::vector<PartOf>& parts) override {
    std::vector<torch::Tensor> frames;
    const auto deadline = DecodeBudget::deadline();
    for (size_t i = 0; i < numbers.size(); ++i) {
      DecodeBudget::require_time(deadline, images_.front().front());
      if (i > 0 && numbers[i] == numbers[i - 1]) {
        frames.push_back(frames.back());
        continue;
      }
      std::vector<std::string> paths;
      for (const auto& images : images_) {
        paths.push_back(images[static_cast<size_t>(numbers[i])]);
      }
      const bool shared = i + 1 < numbers.size() && numbers[i + 1] == numbers[i];
      frames.push_back(
          read_images(paths, channels_, parts.empty() || shared ? whole_image : parts[i]));
    }
    return frames;
  }

 private:
  int64_t channels_;
  std::vector<std::vector<std::string>> images_;
};

/// A file that FFmpeg reads.
class FileClip final : public Clip {
 public:
  FileClip(const std::string& path, double fps, int64_t channels)
      : file_(path), channels_(channels) {
    if (fps == 0) {
      moments_ = file_.times();
      return;
    }
    // A frame shown to the very end of the clip is not asked for at that moment.
    constexpr double kTolerance = 1e-6;
    const auto count =
        static_cast<int64_t>(std::ceil(std::max(file_.duration() - kTolerance, 0.0) * fps));
    for (int64_t k = 0; k < std::max<int64_t>(count, 1); ++k) {
      moments_.push_back(static_cast<double>(k) / fps);
    }
  }

  [[nodiscard]] int64_t size() const override { return static_cast<int64_t>(moments_.size()); }

  [[nodiscard]] std::vector<torch::Tensor> read(const std::vector<int64_t>& numbers,
                                                const std::vector<PartOf>& /*parts*/) override {
    std::vector<double> moments;
    moments.reserve(numbers.size());
    for (const int64_t number : numbers) {
      moments.push_back(moments_[static_cast<size_t>(number)]);
    }
    std::vector<torch::Tensor> frames = file_.frames_at(moments);
    if (channels_ == 1) {
      for (torch::Tensor& frame : frames) {
        frame = to_grey(frame);
      }
    }
    return frames;
  }

 private:
  VideoFile file_;
  int64_t channels_;
  std::vector<double> moments_;
};

std::unique_ptr<Clip> open_clip(const std::string& cell, const VideoSettings& settings,
                                int64_t channels) {
  const std::vector<std::string> paths = paths_of(cell, channels);
  if (paths.size() > 1 || is_folder(paths.front()) || is_jpeg(paths.front())) {
    return std::make_unique<ImageClip>(paths, channels);
  }
  return std::make_unique<FileClip>(paths.front(), settings.fps, channels);
}

VideoSettings read_settings(Options& options) {
  VideoSettings settings;
  settings.frames = options.integer("frames", settings.frames, {1, 1024});
  const std::string choice = options.choice("choice", {"first", "uniform", "segment"}, "first");
  settings.choice = choice == "first"     ? FrameChoice::kFirst
                    : choice == "uniform" ? FrameChoice::kUniform
                                          : FrameChoice::kSegment;
  settings.fps = options.number("fps", settings.fps, {.min = 0, .max = 1000});
  settings.share_draw = options.boolean("share_draw", settings.share_draw);
  return settings;
}

}  // namespace

std::vector<int64_t> choose_frames(FrameChoice choice, int64_t total, int64_t count,
                                   RandomStream* random) {
  std::vector<int64_t> numbers;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t begin = i * total / count;
    const int64_t end = std::max(begin + 1, (i + 1) * total / count);
    if (choice == FrameChoice::kFirst) {
      numbers.push_back(std::min(i, total - 1));
    } else if (choice == FrameChoice::kUniform) {
      numbers.push_back(begin);
    } else if (random == nullptr) {
      numbers.push_back((begin + end - 1) / 2);
    } else {
      numbers.push_back(begin + static_cast<int64_t>(random->below(end - begin)));
    }
  }
  return numbers;
}

bool numbered_before(const std::string& name, const std::string& other) {
  constexpr std::string_view kDigits = "0123456789";
  // The digits at the start of `rest`, which are taken off it, without leading zeros.
  const auto number = [&](std::string_view& rest) {
    std::string_view digits = rest.substr(0, rest.find_first_not_of(kDigits));
    rest.remove_prefix(digits.size());
    digits.remove_prefix(std::min(digits.find_first_not_of('0'), digits.size()));
    return digits;
  };
  const auto is_digit = [&](char character) { return kDigits.find(character) != kDigits.npos; };
  std::string_view left = name;
  std::string_view right = other;
  while (!left.empty() && !right.empty()) {
    if (is_digit(left.front()) && is_digit(right.front())) {
      const std::string_view a = number(left);
      const std::string_view b = number(right);
      if (a != b) {
        return a.size() != b.size() ? a.size() < b.size() : a < b;
      }
      continue;
    }
    if (left.front() != right.front()) {
      return left.substr(0, 1) < right.substr(0, 1);
    }
    left.remove_prefix(1);
    right.remove_prefix(1);
  }
  return left.empty() && right.empty() ? name < other : left.empty();
}

VideoDecoder::VideoDecoder(Options& options)
    : settings_(read_settings(options)), transform_(options) {}

std::string VideoDecoder::resolve(const std::string& cell, const std::string& folder) const {
  return resolve_paths(cell, folder, channels());
}

void VideoDecoder::check(const std::string& cell) const {
  for (const std::string& path : paths_of(cell, channels())) {
    if (!is_folder(path)) {
      check_file(path);
      if (!container_support()) {
        throw DataError(path +
                        ": expected a folder of images, since this build has no FFmpeg "
                        "(-DUNBRAID_WITH_FFMPEG=ON) to read a video file with");
      }
    }
  }
}

std::vector<int64_t> VideoDecoder::chosen(int64_t total, const SampleContext& context) const {
  RandomStream random = context.random("frames");
  return choose_frames(settings_.choice, total, settings_.frames,
                       context.training && transform_.settings().augment ? &random : nullptr);
}

std::string VideoDecoder::draw_of(size_t frame) const {
  return settings_.share_draw ? "" : fmt::format("/{}", frame);
}

torch::Tensor VideoDecoder::finish(const std::vector<torch::Tensor>& frames,
                                   const SampleContext& context) const {
  std::vector<torch::Tensor> finished;
  for (size_t i = 0; i < frames.size(); ++i) {
    finished.push_back(transform_.apply(frames[i], context, draw_of(i)));
  }
  return finished.size() == 1 ? finished.front().unsqueeze(0) : torch::stack(finished);
}

torch::Tensor VideoDecoder::decode(const std::string& cell) const {
  const auto clip = open_clip(cell, settings_, channels());
  std::vector<int64_t> all;
  for (int64_t number = 0; number < clip->size(); ++number) {
    all.push_back(number);
  }
  std::vector<torch::Tensor> frames;
  int64_t bytes = 0;
  // In parts, so that a clip that is too large is found before it is in memory.
  constexpr size_t kAtOnce = 16;
  for (size_t first = 0; first < all.size(); first += kAtOnce) {
    const std::vector<int64_t> part(
        all.begin() + static_cast<std::ptrdiff_t>(first),
        all.begin() + static_cast<std::ptrdiff_t>(std::min(first + kAtOnce, all.size())));
    for (torch::Tensor& frame : clip->read(part, {})) {
      if (!frames.empty() && frame.sizes() != frames.front().sizes()) {
        throw DataError(fmt::format("{}: expected frames of one size, {} x {}, found {} x {}", cell,
                                    frames.front().size(1), frames.front().size(0), frame.size(1),
                                    frame.size(0)));
      }
      bytes += frame.numel();
      frames.push_back(std::move(frame));
    }
    if (bytes > DecodeBudget::limits().bytes) {
      throw DataError(fmt::format(
          "{}: expected frames of at most {} bytes together (decode_mb), {} of {} take {}; a lower "
          "fps helps",
          cell, DecodeBudget::limits().bytes, frames.size(), all.size(), bytes));
    }
  }
  return torch::stack(frames);
}

std::vector<std::string> VideoDecoder::files(const std::string& cell) const {
  std::vector<std::string> files;
  for (const std::string& path : paths_of(cell, channels())) {
    if (!is_folder(path)) {
      files.push_back(path);
      continue;
    }
    const std::vector<std::string> images = images_of(path);
    files.insert(files.end(), images.begin(), images.end());
  }
  return files;
}

std::string VideoDecoder::cache_key(const std::string& cell) const {
  std::string key = fmt::format("video 3 {} {}\n", channels(), settings_.fps);
  for (const std::string& path : files(cell)) {
    key += file_stamp(path);
  }
  return key;
}

torch::Tensor VideoDecoder::transform(const torch::Tensor& decoded,
                                      const SampleContext& context) const {
  std::vector<torch::Tensor> frames;
  for (const int64_t number : chosen(decoded.size(0), context)) {
    frames.push_back(decoded[number]);
  }
  return finish(frames, context);
}

torch::Tensor VideoDecoder::load(const std::string& cell, const SampleContext& context) const {
  const auto clip = open_clip(cell, settings_, channels());
  const std::vector<int64_t> numbers = chosen(clip->size(), context);
  std::vector<PartOf> parts;
  for (size_t i = 0; i < numbers.size(); ++i) {
    parts.emplace_back([this, &context, i](int64_t height, int64_t width) {
      return transform_.crop_of(height, width, context, draw_of(i));
    });
  }
  return finish(clip->read(numbers, parts), context);
}

}  // namespace unbraid
