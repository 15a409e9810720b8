#include "unbraid/media/container_stream.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <string_view>

#include <fmt/format.h>

#include "unbraid/core/stop.h"
#include "unbraid/media/image.h"
#include "unbraid/media/whole.h"

namespace unbraid {
namespace {

constexpr int kBufferBytes = 1 << 16;
constexpr int64_t kMaxFileBytes = int64_t{4} << 30;
constexpr int kMaxStreams = 32;

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

}  // namespace

Container::Container(const std::string& path) : file_(path), deadline_(DecodeBudget::deadline()) {
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
Container::~Container() { close(); }

AVStream& Container::best_stream(AVMediaType type, const char* what) const {
  const int index = av_find_best_stream(format_, type, -1, -1, nullptr, 0);
  if (index < 0) {
    throw error(fmt::format("expected {}, it has none", what));
  }
  return *format_->streams[index];
}

Codec Container::open_codec(const AVStream& stream) const {
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

bool Container::next_packet(const AVStream& stream, AVPacket& packet) {
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
    if ((packet.flags & AV_PKT_FLAG_CORRUPT) != 0) {  // of any stream: where the file was cut
      throw error("damaged or truncated: a packet is marked as corrupt");
    }
    if (packet.stream_index == stream.index) {
      ++packets_;
      return true;
    }
  }
}

void Container::check_whole(const AVStream& stream) const {
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

void Container::require(int status, const char* what) const {
  check_time();
  if (status < 0 && failure_ != 0) {
    throw error(fmt::format("cannot be read: {}", std::strerror(failure_)));
  }
  if (status < 0) {
    throw error(fmt::format("{}: {}", what, in_words(status)));
  }
}

void Container::note_end(const AVPacket& packet) {
  const int64_t stamp = packet.pts != AV_NOPTS_VALUE ? packet.pts : packet.dts;
  if (stamp != AV_NOPTS_VALUE) {
    const AVStream& stream = *format_->streams[packet.stream_index];
    end_ = std::max(end_, static_cast<double>(stamp + std::max<int64_t>(packet.duration, 0)) *
                              av_q2d(stream.time_base));
  }
}

void Container::open() {
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

void Container::close() {
  avformat_close_input(&format_);
  if (io_ != nullptr) {
    av_freep(&io_->buffer);
    avio_context_free(&io_);
  }
}

int Container::read_bytes(void* self, uint8_t* into, int count) {
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

int64_t Container::seek_to(void* self, int64_t offset, int whence) {
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
int Container::refuse_to_open(AVFormatContext* format, AVIOContext** /*io*/, const char* /*url*/,
                              int /*flags*/, AVDictionary** /*options*/) {
  static_cast<Container*>(format->opaque)->refused_ = true;
  return AVERROR(EPERM);
}

int Container::is_late(void* self) {
  const bool late = DecodeBudget::Clock::now() > static_cast<Container*>(self)->deadline_;
  return late || stop_requested() ? 1 : 0;
}

StreamDecoder::StreamDecoder(Container& container, const AVStream& stream)
    : container_(container),
      stream_(stream),
      codec_(container.open_codec(stream)),
      packet_(allocated(av_packet_alloc())) {}

bool StreamDecoder::next(AVFrame& frame) {
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
      container_.require(avcodec_send_packet(codec_.get(), packet_.get()), "damaged or truncated");
    } else {
      container_.require(avcodec_send_packet(codec_.get(), nullptr), "damaged or truncated");
    }
  }
}

// A picture of JPEG is decoded anew for every scan that its packet holds, and nothing interrupts
// that; a picture has ten or so, libjpeg-turbo takes 500.
void StreamDecoder::require_few_scans() const {
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

}  // namespace unbraid
