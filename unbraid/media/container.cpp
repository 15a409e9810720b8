#include "unbraid/media/container.h"

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libswresample/swresample.h>
#include <libswscale/swscale.h>
}

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <mutex>
#include <optional>

#include <fmt/format.h>

#include "unbraid/core/stop.h"
#include "unbraid/media/file.h"
#include "unbraid/media/image.h"
#include "unbraid/media/image_codecs.h"
#include "unbraid/media/limits.h"
#include "unbraid/media/whole.h"

namespace unbraid {
namespace {

constexpr int kBufferBytes = 1 << 16;
constexpr int64_t kMaxFileBytes = int64_t{4} << 30;
constexpr int kMaxStreams = 32;

struct PacketFree {
  void operator()(AVPacket* packet) const { av_packet_free(&packet); }
};
struct FrameFree {
  void operator()(AVFrame* frame) const { av_frame_free(&frame); }
};
struct CodecFree {
  void operator()(AVCodecContext* codec) const { avcodec_free_context(&codec); }
};
struct ScalerFree {
  void operator()(SwsContext* scaler) const { sws_freeContext(scaler); }
};
struct ConverterFree {
  void operator()(SwrContext* converter) const { swr_free(&converter); }
};
using Packet = std::unique_ptr<AVPacket, PacketFree>;
using Frame = std::unique_ptr<AVFrame, FrameFree>;
using Codec = std::unique_ptr<AVCodecContext, CodecFree>;

/// Of a fault in a file. Where FFmpeg found none of its own, it gives numbers of the system's, such
/// as "Operation not permitted".
std::string in_words(int error) {
  if (error == AVERROR_EOF) {
    return "it ends too early";
  }
  if (error == AVERROR(EPERM) || error == AVERROR(EIO) || error == AVERROR(EINVAL) ||
      error == AVERROR(ENOMEM) || error == AVERROR(EAGAIN)) {
    return "FFmpeg cannot make sense of it";
  }
  char text[AV_ERROR_MAX_STRING_SIZE] = {};
  av_strerror(error, text, sizeof text);
  return text;
}

template <typename T>
T* allocated(T* pointer) {
  if (pointer == nullptr) {
    throw std::bad_alloc();
  }
  return pointer;
}

/// A file open with FFmpeg, which reads it through our own descriptor and may open nothing else.
class Container {
 public:
  explicit Container(const std::string& path) : file_(path), deadline_(DecodeBudget::deadline()) {
    static std::once_flag quiet;
    std::call_once(quiet, [] { av_log_set_level(AV_LOG_QUIET); });
    if (file_.size() > kMaxFileBytes) {
      throw file_.error(
          fmt::format("expected at most {} bytes, the file has {}", kMaxFileBytes, file_.size()));
    }
    check_is_whole(file_);
    try {
      open();
    } catch (...) {
      close();
      throw;
    }
  }
  ~Container() { close(); }
  Container(const Container&) = delete;
  Container& operator=(const Container&) = delete;

  [[nodiscard]] AVFormatContext& format() const { return *format_; }
  [[nodiscard]] DataError error(const std::string& what) const { return file_.error(what); }

  /// The stream that FFmpeg prefers of this type.
  [[nodiscard]] AVStream& best_stream(AVMediaType type, const char* what) const {
    const int index = av_find_best_stream(format_, type, -1, -1, nullptr, 0);
    if (index < 0) {
      throw error(fmt::format("expected {}, it has none", what));
    }
    return *format_->streams[index];
  }

  [[nodiscard]] Codec open_codec(const AVStream& stream) const {
    const AVCodec* decoder = avcodec_find_decoder(stream.codecpar->codec_id);
    if (decoder == nullptr) {
      throw error(fmt::format("this FFmpeg has no decoder for {}",
                              avcodec_get_name(stream.codecpar->codec_id)));
    }
    Codec codec(allocated(avcodec_alloc_context3(decoder)));
    codec->thread_count = 1;  // the same pixels every time
    codec->max_pixels = kMaxImagePixels;
    codec->pkt_timebase = stream.time_base;
    require(avcodec_parameters_to_context(codec.get(), stream.codecpar), "damaged header");
    require(avcodec_open2(codec.get(), decoder, nullptr), "damaged header");
    return codec;
  }

  /// The next packet of `stream`; false at the end of the file.
  bool next_packet(const AVStream& stream, AVPacket& packet) {
    for (;;) {
      av_packet_unref(&packet);
      check_time();
      const int status = av_read_frame(format_, &packet);
      if (status == AVERROR_EOF) {
        if (format_->pb->error < 0) {
          require(format_->pb->error, "damaged or truncated");
        }
        return false;
      }
      require(status, "damaged or truncated");
      note_end(packet);
      if (packet.stream_index == stream.index) {
        ++packets_;
        if ((packet.flags & AV_PKT_FLAG_CORRUPT) != 0) {
          throw error("damaged or truncated: a packet is marked as corrupt");
        }
        return true;
      }
    }
  }

  /// Once every packet was read: whether the file is as long as its header says. FFmpeg reads what
  /// is left of a cut file without complaint.
  void check_whole(const AVStream& stream) const {
    const std::string name = format_->iformat->name;
    if (name.starts_with("mov") && packets_ < stream.nb_frames) {
      throw error(
          fmt::format("truncated: expected {} packets, found {}", stream.nb_frames, packets_));
    }
    const double start = format_->start_time == AV_NOPTS_VALUE
                             ? 0.0
                             : static_cast<double>(format_->start_time) / AV_TIME_BASE;
    const double promised = format_->duration == AV_NOPTS_VALUE
                                ? 0.0
                                : static_cast<double>(format_->duration) / AV_TIME_BASE;
    const double found = end_ - start;
    const bool of_mp3 = name == "mp3";
    const bool from_header = (name.starts_with("matroska") || name == "flv" || of_mp3) &&
                             format_->duration_estimation_method == AVFMT_DURATION_FROM_STREAM;
    // The number of packets that an MP3 names is that of 1152 samples each, give or take a few.
    const double tolerance = of_mp3 ? 3 * 1152.0 / std::max(stream.codecpar->sample_rate, 1)
                                    : std::max(0.5, 0.1 * promised);
    if (from_header && promised - found > tolerance) {
      throw error(fmt::format("truncated: expected {:.2f} seconds, found {:.2f}", promised, found));
    }
  }

  void require(int status, const char* what) const {
    check_time();
    if (status < 0 && failure_ != 0) {
      throw error(fmt::format("cannot be read: {}", std::strerror(failure_)));
    }
    if (status < 0) {
      throw error(fmt::format("{}: {}", what, in_words(status)));
    }
  }

  void check_time() const { DecodeBudget::require_time(deadline_, file_.path()); }

 private:
  void note_end(const AVPacket& packet) {
    const int64_t stamp = packet.pts != AV_NOPTS_VALUE ? packet.pts : packet.dts;
    if (stamp != AV_NOPTS_VALUE) {
      const AVStream& stream = *format_->streams[packet.stream_index];
      end_ = std::max(end_, static_cast<double>(stamp + std::max<int64_t>(packet.duration, 0)) *
                                av_q2d(stream.time_base));
    }
  }

  void open() {
    format_ = allocated(avformat_alloc_context());
    auto* buffer = static_cast<unsigned char*>(allocated(av_malloc(kBufferBytes)));
    io_ = avio_alloc_context(buffer, kBufferBytes, 0, this, read_bytes, nullptr, seek_to);
    if (io_ == nullptr) {
      av_free(buffer);
      throw std::bad_alloc();
    }
    format_->pb = io_;
    format_->flags |= AVFMT_FLAG_CUSTOM_IO;
    format_->io_open = refuse_to_open;
    format_->opaque = this;
    format_->max_streams = kMaxStreams;
    format_->interrupt_callback = {is_late, this};
    AVFormatContext* opening = format_;
    AVDictionary* settings = nullptr;
    av_dict_set(&settings, "protocol_whitelist", "none", 0);  // no sockets for an SDP either
    const int status = avformat_open_input(&opening, "", nullptr, &settings);
    av_dict_free(&settings);
    format_ = opening;  // null after a failure
    if (status < 0 && refused_) {
      throw error("expected a media file, found one that refers to others");
    }
    const bool begins_well = status == AVERROR_EOF || status == AVERROR(EIO) ||
                             status == AVERROR(EPERM) || status == AVERROR(ENOMEM);
    require(status, begins_well ? "damaged or truncated" : "expected a media file");
    require(avformat_find_stream_info(format_, nullptr), "damaged or truncated");
  }

  void close() {
    avformat_close_input(&format_);
    if (io_ != nullptr) {
      av_freep(&io_->buffer);
      avio_context_free(&io_);
    }
  }

  static int read_bytes(void* self, uint8_t* into, int count) {
    auto* container = static_cast<Container*>(self);
    ssize_t got = 0;
    do {
      got = pread(container->file_.descriptor(), into, static_cast<size_t>(count),
                  container->position_);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
      container->failure_ = errno;
      return AVERROR(errno);
    }
    if (got == 0) {
      return AVERROR_EOF;
    }
    container->position_ += got;
    return static_cast<int>(got);
  }

  static int64_t seek_to(void* self, int64_t offset, int whence) {
    auto* container = static_cast<Container*>(self);
    if (whence == AVSEEK_SIZE) {
      return container->file_.size();
    }
    const int origin = whence & ~AVSEEK_FORCE;
    const int64_t base = origin == SEEK_CUR   ? container->position_
                         : origin == SEEK_END ? container->file_.size()
                                              : 0;
    if (offset < -base) {
      return AVERROR(EINVAL);
    }
    container->position_ = base + offset;
    return container->position_;
  }

  // Playlists and references to other files lead nowhere.
  static int refuse_to_open(AVFormatContext* format, AVIOContext** /*io*/, const char* /*url*/,
                            int /*flags*/, AVDictionary** /*options*/) {
    static_cast<Container*>(format->opaque)->refused_ = true;
    return AVERROR(EPERM);
  }

  static int is_late(void* self) {
    const bool late = DecodeBudget::Clock::now() > static_cast<Container*>(self)->deadline_;
    return late || stop_requested() ? 1 : 0;
  }

  File file_;
  DecodeBudget::Clock::time_point deadline_;
  int64_t position_ = 0;
  int failure_ = 0;       // of the system, to read the file
  bool refused_ = false;  // to open another file
  int64_t packets_ = 0;   // of the stream that is read
  double end_ = 0;        // of what was read of any stream, in seconds
  AVIOContext* io_ = nullptr;
  AVFormatContext* format_ = nullptr;
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

/// Feeds packets of one stream to its decoder and hands out what comes back.
class StreamDecoder {
 public:
  StreamDecoder(Container& container, const AVStream& stream)
      : container_(container),
        stream_(stream),
        codec_(container.open_codec(stream)),
        packet_(allocated(av_packet_alloc())) {}

  /// False at the end.
  bool next(AVFrame& frame) {
    for (;;) {
      const int status = avcodec_receive_frame(codec_.get(), &frame);
      if (status == AVERROR_EOF) {
        return false;
      }
      if (status != AVERROR(EAGAIN)) {
        container_.require(status, "damaged or truncated");
        if ((frame.flags & AV_FRAME_FLAG_CORRUPT) != 0 || frame.decode_error_flags != 0) {
          throw container_.error("damaged or truncated: its decoder made up a part");
        }
        return true;
      }
      if (container_.next_packet(stream_, *packet_)) {
        require_few_scans();
        container_.require(avcodec_send_packet(codec_.get(), packet_.get()),
                           "damaged or truncated");
      } else {
        container_.require(avcodec_send_packet(codec_.get(), nullptr), "damaged or truncated");
      }
    }
  }

 private:
  // A picture of JPEG is decoded anew for every scan that its packet holds, and nothing interrupts
  // that; a picture has ten or so, libjpeg-turbo takes 500.
  void require_few_scans() const {
    constexpr size_t kMostScans = 500;
    if (codec_->codec_id != AV_CODEC_ID_MJPEG) {
      return;
    }
    const std::string_view data(reinterpret_cast<const char*>(packet_->data),
                                static_cast<size_t>(std::max(packet_->size, 0)));
    size_t scans = 0;
    for (size_t at = data.find("\xff\xda"); at != std::string_view::npos;
         at = data.find("\xff\xda", at + 2)) {
      if (++scans > kMostScans) {
        throw container_.error(
            fmt::format("expected pictures of at most {} scans, found more", kMostScans));
      }
    }
  }

  Container& container_;
  const AVStream& stream_;
  Codec codec_;
  Packet packet_;
};

/// Collects decoded sound.
class MeanOfChannels {
 public:
  explicit MeanOfChannels(const Container& container) : container_(container) {}
  ~MeanOfChannels() { av_channel_layout_uninit(&layout_); }
  MeanOfChannels(const MeanOfChannels&) = delete;
  MeanOfChannels& operator=(const MeanOfChannels&) = delete;

  void append(const AVFrame& frame) {
    if (converter_ == nullptr) {
      start(frame);
    } else if (frame.sample_rate != static_cast<int>(track_.rate) ||
               av_channel_layout_compare(&frame.ch_layout, &layout_) != 0) {
      throw container_.error("expected one sample rate and layout of channels, they change");
    }
    const auto count = static_cast<size_t>(frame.nb_samples);
    std::vector<uint8_t*> planes;
    for (auto& channel : channels_) {
      channel.resize(count);
      planes.push_back(reinterpret_cast<uint8_t*>(channel.data()));
    }
    container_.require(
        swr_convert(converter_.get(), planes.data(), frame.nb_samples,
                    const_cast<const uint8_t**>(frame.extended_data), frame.nb_samples),
        kCannotConvert);
    for (size_t i = 0; i < count; ++i) {
      double sum = 0;
      for (const auto& channel : channels_) {
        sum += channel[i];
      }
      track_.samples.push_back(static_cast<float>(sum / static_cast<double>(channels_.size())));
    }
  }

  [[nodiscard]] const SoundTrack& track() const { return track_; }

 private:
  static constexpr const char* kCannotConvert = "its samples cannot be converted";

  void start(const AVFrame& frame) {
    constexpr int kMaxChannels = 64;
    const int channels = frame.ch_layout.nb_channels;
    if (frame.sample_rate < 1 || channels < 1 || channels > kMaxChannels) {
      throw container_.error(fmt::format("expected 1 to {} channels, found {} at {} Hz",
                                         kMaxChannels, channels, frame.sample_rate));
    }
    track_.rate = frame.sample_rate;
    channels_.resize(static_cast<size_t>(channels));
    container_.require(av_channel_layout_copy(&layout_, &frame.ch_layout), kCannotConvert);
    SwrContext* made = nullptr;
    const int status = swr_alloc_set_opts2(&made, &layout_, AV_SAMPLE_FMT_FLTP, frame.sample_rate,
                                           &layout_, static_cast<AVSampleFormat>(frame.format),
                                           frame.sample_rate, 0, nullptr);
    converter_.reset(made);
    container_.require(status, kCannotConvert);
    container_.require(swr_init(converter_.get()), kCannotConvert);
  }

  const Container& container_;
  std::unique_ptr<SwrContext, ConverterFree> converter_;
  AVChannelLayout layout_{};
  std::vector<std::vector<float>> channels_;
  SoundTrack track_;
};

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

SoundTrack read_sound_track(const std::string& path, double max_seconds) {
  Container container(path);
  const AVStream& stream = container.best_stream(AVMEDIA_TYPE_AUDIO, "a sound track");
  StreamDecoder decoder(container, stream);
  MeanOfChannels mean(container);
  const Frame frame(allocated(av_frame_alloc()));
  while (decoder.next(*frame)) {
    mean.append(*frame);
    DecodeBudget::require_memory(static_cast<int64_t>(mean.track().samples.size() * sizeof(float)),
                                 path);
    if (static_cast<double>(mean.track().samples.size()) > max_seconds * mean.track().rate) {
      throw container.error(
          fmt::format("expected at most {} seconds of sound, it has more", max_seconds));
    }
  }
  container.check_whole(stream);
  return mean.track();
}

}  // namespace unbraid
