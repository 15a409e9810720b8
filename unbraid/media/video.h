#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "unbraid/media/image_transform.h"

namespace unbraid {

/// Which frames of a clip are taken.
enum class FrameChoice {
  kFirst,    // the first ones
  kUniform,  // every (total / count)-th from the first on
  kSegment,  // one of each of `count` equal segments: in training a random one, else the middle one
};

/// The numbers, ascending, of `count` out of `total` frames; with fewer than `count`, some are
/// taken twice. `random` is used by kSegment in training and may be null otherwise.
std::vector<int64_t> choose_frames(FrameChoice choice, int64_t total, int64_t count,
                                   RandomStream* random);

/// Whether a name comes before another one where the numbers in them count by their value, as in
/// 2, 10, 010; those of one value by their characters.
bool numbered_before(const std::string& name, const std::string& other);

struct VideoSettings {
  int64_t frames = 1;
  FrameChoice choice = FrameChoice::kFirst;
  double fps = 1.0;         // frames are taken from the clip at this rate; 0: all that it has
  bool share_draw = false;  // the frames of a clip are cropped, flipped and coloured alike
};

/// kind = "video": frames of a clip, which is a file in any container and codec of FFmpeg or a
/// folder of images in the order of their names, numbers by value (`fps` is not for them). `decode`
/// gives uint8 [N, height, width, channels], all frames at the rate `fps`; `load` decodes those
/// alone that it needs, and of a JPEG no more than it needs. `transform` gives float [frames,
/// channels, size, size], each frame as ImageTransform says. Encoders average clips over their
/// frames. With channels = 2 a cell is a pair of folders, u and v of optical flow, with the same
/// number of frames.
///
/// Keys: frames = 1, choice = "first", "uniform" or "segment", fps = 1.0 (frames a second: frame k
/// is the one shown at k / fps seconds, in clips of constant and variable rate alike),
/// share_draw = false, and those of ImageTransform.
class VideoDecoder final : public Decoder {
 public:
  explicit VideoDecoder(Options& options);

  [[nodiscard]] std::string resolve(const std::string& cell,
                                    const std::string& folder) const override;
  void check(const std::string& cell) const override;
  [[nodiscard]] std::vector<std::string> files(const std::string& cell) const override;
  [[nodiscard]] torch::Tensor decode(const std::string& cell) const override;
  [[nodiscard]] torch::Tensor transform(const torch::Tensor& decoded,
                                        const SampleContext& context) const override;
  [[nodiscard]] torch::Tensor load(const std::string& cell,
                                   const SampleContext& context) const override;
  [[nodiscard]] std::string cache_key(const std::string& cell) const override;

 private:
  [[nodiscard]] int64_t channels() const { return transform_.settings().channels; }
  [[nodiscard]] std::vector<int64_t> chosen(int64_t total, const SampleContext& context) const;
  // What the random choices for one of the frames taken are a function of.
  [[nodiscard]] std::string draw_of(size_t frame) const;
  [[nodiscard]] torch::Tensor finish(const std::vector<torch::Tensor>& frames,
                                     const SampleContext& context) const;

  VideoSettings settings_;
  ImageTransform transform_;
};

}  // namespace unbraid
