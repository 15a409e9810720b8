#pragma once

#include <cstdint>
#include <string>

#include "unbraid/media/image_transform.h"

namespace unbraid {

/// No larger image is decoded: the limits are tried on the header, before any pixel is allocated.
inline constexpr int64_t kMaxImagePixels = int64_t{64} << 20;
inline constexpr int64_t kMaxImageSide = 30000;
inline constexpr int64_t kMaxImageBytes = int64_t{256} << 20;  // of the file

/// A PNG, JPEG or WebP image (told by content, not by name) as uint8 [height, width, channels],
/// turned as its EXIF orientation says; `channels` is 1 or 3. Colour becomes grey by ITU-R 601, 16
/// bits become 8 by rounding, transparency and colour profiles are left out, as Pillow's convert
/// leaves them out. Throws DataError when the file is not whole, has a fault that the codec would
/// pass over, is CMYK or animated. Pixels outside of the part may be left undefined.
torch::Tensor read_image(const std::string& path, int64_t channels,
                         const PartOf& part_of = whole_image);

/// uint8 [height, width, 3] to [height, width, 1], with the integers of Pillow's mode "L".
torch::Tensor to_grey(const torch::Tensor& image);

/// The paths that a cell names: one, or two for optical flow ("u.jpg|v.jpg"). Throws DataError for
/// another number.
std::vector<std::string> paths_of(const std::string& cell, int64_t channels);

/// One image from what `paths_of` gave: uint8 [height, width, channels]; the two of optical flow,
/// read as grey, must be of one size.
torch::Tensor read_images(const std::vector<std::string>& paths, int64_t channels,
                          const PartOf& part_of = whole_image);

/// `cell` with each of its paths taken relative to `folder`.
std::string resolve_paths(const std::string& cell, const std::string& folder, int64_t channels);

/// kind = "image": `decode` gives uint8 [height, width, channels], `transform` what ImageTransform
/// says; `load` decodes no more of a JPEG than it needs. With channels = 2 a cell is a pair of
/// paths, u and v of optical flow.
///
/// Keys: those of ImageTransform.
class ImageDecoder final : public Decoder {
 public:
  explicit ImageDecoder(Options& options) : transform_(options) {}

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

  ImageTransform transform_;
};

}  // namespace unbraid
