extern "C" {
#include <libswscale/swscale.h>
}

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "unbraid/media/container.h"
#include "unbraid/media/container_stream.h"
#include "unbraid/media/image_codecs.h"

namespace unbraid {
namespace {

struct ScalerFree {
  void operator()(SwsContext* scaler) const { sws_freeContext(scaler); }
};

double seconds_of(int64_t time, const AVStream& stream) {
  return static_cast<double>(time) * av_q2d(stream.time_base);
}

/// How a frame is to be turned and mirrored, nine numbers; null where nothing is said.
const int32_t* display_matrix(const AVFrame& frame, const AVStream& stream) {
  constexpr size_t kBytes = 9 * sizeof(int32_t);
  const AVFrameSideData* own = av_frame_get_side_data(&frame, AV_FRAME_DATA_DISPLAYMATRIX);
  if (own != nullptr && own->size >= kBytes) {
    return reinterpret_cast<const int32_t*>(own->data);
  }
  size_t bytes = 0;
#if LIBAVFORMAT_VERSION_INT < AV_VERSION_INT(60, 15, 100)
  const uint8_t* data = av_stream_get_side_data(&stream, AV_PKT_DATA_DISPLAYMATRIX, &bytes);
#else
  const AVPacketSideData* found =
      av_packet_side_data_get(stream.codecpar->coded_side_data, stream.codecpar->nb_coded_side_data,
                              AV_PKT_DATA_DISPLAYMATRIX);
  const uint8_t* data = found == nullptr ? nullptr : found->data;
  bytes = found == nullptr ? 0 : found->size;
#endif
  return data != nullptr && bytes >= kBytes ? reinterpret_cast<const int32_t*>(data) : nullptr;
}

/// `pixels`, [height, width, 3], as they are to be shown: the matrix takes the unit to the right to
/// its first two numbers (right, down), the one down to the fourth and fifth. Quarter turns and
/// mirrorings are followed, others are not.
torch::Tensor upright(const torch::Tensor& pixels, const int32_t* matrix) {
  if (matrix == nullptr) {
    return pixels;
  }
  const auto size = [matrix](int place) { return std::abs(static_cast<double>(matrix[place])); };
  const bool exchanged = size(1) > size(0);  // rows become columns
  const int right = exchanged ? 3 : 0;
  const int down = exchanged ? 1 : 4;
  constexpr double kTilt = 0.02;  // about one degree, which FFmpeg's program ignores too
  if (std::max(size(exchanged ? 0 : 1), size(exchanged ? 4 : 3)) >=
      kTilt * std::min(size(right), size(down))) {
    return pixels;
  }
  std::vector<int64_t> mirrored;
  if (matrix[down] < 0) {
    mirrored.push_back(0);
  }
  if (matrix[right] < 0) {
    mirrored.push_back(1);
  }
  return (exchanged ? pixels.transpose(0, 1) : pixels).flip(mirrored);
}

}  // namespace

bool container_support() { return true; }

class VideoFile::Impl {
 public:
  explicit Impl(const std::string& path)
      : path_(path),
        container_(std::make_unique<Container>(path)),
        stream_(&container_->best_stream(AVMEDIA_TYPE_VIDEO, "a video stream")) {
    check_image_size(stream_->codecpar->height, stream_->codecpar->width, path);
    scan();
  }

  [[nodiscard]] const std::vector<double>& times() const { return times_; }
  [[nodiscard]] double duration() const { return duration_; }

  std::vector<torch::Tensor> frames_at(const std::vector<double>& moments) {
    std::vector<torch::Tensor> frames;
    for (size_t i = 0; i < moments.size(); ++i) {
      const bool skips = key_before(moments[i]) > key_before(moments[std::max<size_t>(i, 1) - 1]);
      if (i == 0 || skips) {
        start_at(key_before(moments[i]));
      }
      frames.push_back(to_rgb(frame_at(moments[i])));
    }
    return frames;
  }

 private:
  static constexpr double kTolerance = 1e-6;  // seconds

  // Reads every packet, without decoding: the times of the frames, where the key frames are, and
  // whether the file is as long as it says.
  void scan() {
    const Packet packet(allocated(av_packet_alloc()));
    double last_duration = 0;
    while (container_->next_packet(*stream_, *packet)) {
      if ((packet->flags & AV_PKT_FLAG_DISCARD) != 0) {
        continue;  // decoded, but never shown: what comes before the start of a trimmed clip
      }
      const int64_t stamp = packet->pts != AV_NOPTS_VALUE ? packet->pts : packet->dts;
      if (stamp == AV_NOPTS_VALUE) {
        throw container_->error(
            "expected time stamps, its frames have none (\"ffmpeg -i IN OUT.mp4\" writes a file "
            "that has them)");
      }
      all_stamped_ = all_stamped_ && packet->pts != AV_NOPTS_VALUE;
      times_.push_back(seconds_of(stamp, *stream_));
      if ((packet->flags & AV_PKT_FLAG_KEY) != 0) {
        keys_.push_back(times_.back());
      }
      last_duration = seconds_of(packet->duration, *stream_);
      if (static_cast<int64_t>(times_.size()) > kMaxVideoFrames) {
        throw container_->error(fmt::format("expected at most {} frames", kMaxVideoFrames));
      }
    }
    if (times_.empty()) {
      throw container_->error("expected frames, its video stream has none");
    }
    std::sort(times_.begin(), times_.end());
    start_ = times_.front();
    for (auto* times : {&times_, &keys_}) {
      for (double& time : *times) {
        time -= start_;
      }
    }
    if (last_duration <= 0 && times_.size() > 1) {
      last_duration = times_.back() / static_cast<double>(times_.size() - 1);
    }
    duration_ = times_.back() + std::max(last_duration, 0.0);
    if (!std::isfinite(duration_) || duration_ > kMaxVideoSeconds) {
      throw container_->error(
          fmt::format("expected at most {} seconds, it has {:.0f}", kMaxVideoSeconds, duration_));
    }
    container_->check_whole(*stream_);
  }

  /// The last key frame at or before `moment`; 0 where seeking cannot be trusted.
  [[nodiscard]] double key_before(double moment) const {
    double best = 0;
    if (all_stamped_) {
      for (const double key : keys_) {
        best = key <= moment + kTolerance ? std::max(best, key) : best;
      }
    }
    return best;
  }

  /// Decodes from the key frame at `time` on; from the start of the file where its format cannot be
  /// sought in, or leads elsewhere.
  void start_at(double time) {
    const auto stamp =
        static_cast<int64_t>(std::llround((start_ + time) / av_q2d(stream_->time_base)));
    decoder_.reset();
    if (av_seek_frame(&container_->format(), stream_->index, stamp, AVSEEK_FLAG_BACKWARD) >= 0) {
      decode_first();
      if (following_ != nullptr && shown(*following_) <= time + kTolerance) {
        return;
      }
    }
    decoder_.reset();
    container_ = std::make_unique<Container>(path_);
    stream_ = &container_->best_stream(AVMEDIA_TYPE_VIDEO, "a video stream");
    decode_first();
    if (following_ == nullptr) {
      throw container_->error("damaged or truncated: no frame could be decoded");
    }
  }

  void decode_first() {
    decoder_ = std::make_unique<StreamDecoder>(*container_, *stream_);
    current_.reset();
    following_.reset(allocated(av_frame_alloc()));
    if (!decoder_->next(*following_)) {
      following_.reset();
    }
  }

  /// The last frame shown at `moment`, or the first of all where that is later.
  const AVFrame& frame_at(double moment) {
    while (following_ != nullptr &&
           (current_ == nullptr || shown(*following_) <= moment + kTolerance)) {
      if (current_ == nullptr) {
        current_.reset(allocated(av_frame_alloc()));
      }
      std::swap(current_, following_);
      if (!decoder_->next(*following_)) {
        following_.reset();
      }
    }
    return *current_;
  }

  /// In seconds from the first frame.
  [[nodiscard]] double shown(const AVFrame& frame) const {
    const int64_t stamp = frame.best_effort_timestamp;
    return stamp == AV_NOPTS_VALUE ? 0.0 : seconds_of(stamp, *stream_) - start_;
  }

  torch::Tensor to_rgb(const AVFrame& frame) {
    check_image_size(frame.height, frame.width, path_);
    const auto pixels = static_cast<AVPixelFormat>(frame.format);
    const std::unique_ptr<SwsContext, ScalerFree> scaler(allocated(sws_getContext(
        frame.width, frame.height, pixels, frame.width, frame.height, AV_PIX_FMT_RGB24,
        SWS_BILINEAR | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT, nullptr, nullptr, nullptr)));
    const int* matrix = sws_getCoefficients(
        frame.colorspace == AVCOL_SPC_UNSPECIFIED ? SWS_CS_DEFAULT : frame.colorspace);
    const int full_range = frame.color_range == AVCOL_RANGE_JPEG ? 1 : 0;
    sws_setColorspaceDetails(scaler.get(), matrix, full_range, matrix, 1, 0, 1 << 16, 1 << 16);
    // A row of pixels that ends at a multiple of 64 bytes, as the scaler's kernels like it.
    const int64_t stride = (int64_t{frame.width} * 3 + 63) / 64 * 64;
    torch::Tensor rows = torch::empty({frame.height, stride}, torch::kUInt8);
    uint8_t* const planes[] = {rows.data_ptr<uint8_t>()};
    const int strides[] = {static_cast<int>(stride)};
    container_->require(
        sws_scale(scaler.get(), frame.data, frame.linesize, 0, frame.height, planes, strides),
        "its frames cannot be converted to RGB");
    const torch::Tensor image =
        rows.narrow(1, 0, int64_t{frame.width} * 3).view({frame.height, frame.width, 3});
    return upright(image, display_matrix(frame, *stream_));
  }

  std::string path_;
  std::unique_ptr<Container> container_;
  AVStream* stream_;
  std::unique_ptr<StreamDecoder> decoder_;
  Frame current_;    // what is shown; null before the first
  Frame following_;  // null at the end
  std::vector<double> times_;
  std::vector<double> keys_;
  double start_ = 0;
  double duration_ = 0;
  bool all_stamped_ = true;
};

VideoFile::VideoFile(const std::string& path) : impl_(std::make_unique<Impl>(path)) {}
VideoFile::~VideoFile() = default;
const std::vector<double>& VideoFile::times() const { return impl_->times(); }
double VideoFile::duration() const { return impl_->duration(); }
std::vector<torch::Tensor> VideoFile::frames_at(const std::vector<double>& moments) {
  return impl_->frames_at(moments);
}

}  // namespace unbraid
