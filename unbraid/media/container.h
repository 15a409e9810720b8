#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "unbraid/core/torch.h"

namespace unbraid {

/// Whether this build reads video files and the sound tracks of them: with FFmpeg it does.
bool container_support();

/// No longer video is read, and none whose decoded frames would take more memory at once.
inline constexpr double kMaxVideoSeconds = 4 * 3600.0;
inline constexpr int64_t kMaxVideoFrames = 1000000;

/// The video stream of a file in any container and codec of FFmpeg. Failures are a DataError that
/// names the file: one that is no video, ends before its header says, or has a fault in the part
/// that is decoded. Opens nothing but the file itself, whatever that refers to.
class VideoFile {
 public:
  explicit VideoFile(const std::string& path);
  ~VideoFile();
  VideoFile(const VideoFile&) = delete;
  VideoFile& operator=(const VideoFile&) = delete;

  /// When each frame is shown, in seconds from the first one, ascending. Read from the packets,
  /// without decoding.
  [[nodiscard]] const std::vector<double>& times() const;
  /// When the last one ends.
  [[nodiscard]] double duration() const;
  /// The frames shown at `moments`, ascending seconds from the first frame: uint8
  /// [height, width, 3] each, turned by quarters and mirrored as the file says, but not otherwise.
  /// Decodes from the last key frame before the first moment on, and skips to a later key frame
  /// where that is before the next moment.
  [[nodiscard]] std::vector<torch::Tensor> frames_at(const std::vector<double>& moments);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

/// A recording: the mean of its channels, sampled at `rate` Hz.
struct SoundTrack {
  double rate = 0;
  std::vector<float> samples;
};

/// The best sound track of a file in any container and codec of FFmpeg, at most `max_seconds`.
SoundTrack read_sound_track(const std::string& path, double max_seconds);

}  // namespace unbraid
