#pragma once

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
}

#include <cstdint>
#include <memory>
#include <new>
#include <string>

#include "unbraid/core/error.h"
#include "unbraid/media/file.h"
#include "unbraid/media/limits.h"

namespace unbraid {

struct PacketFree {
  void operator()(AVPacket* packet) const { av_packet_free(&packet); }
};
struct FrameFree {
  void operator()(AVFrame* frame) const { av_frame_free(&frame); }
};
struct CodecFree {
  void operator()(AVCodecContext* codec) const { avcodec_free_context(&codec); }
};
using Packet = std::unique_ptr<AVPacket, PacketFree>;
using Frame = std::unique_ptr<AVFrame, FrameFree>;
using Codec = std::unique_ptr<AVCodecContext, CodecFree>;

template <typename T>
T* allocated(T* pointer) {
  if (pointer == nullptr) {
    throw std::bad_alloc();
  }
  return pointer;
}

/// A file open with FFmpeg, which reads it through our own descriptor and may open nothing else.
/// Failures are a DataError that names the file.
class Container {
 public:
  explicit Container(const std::string& path);
  ~Container();
  Container(const Container&) = delete;
  Container& operator=(const Container&) = delete;

  [[nodiscard]] AVFormatContext& format() const { return *format_; }
  [[nodiscard]] DataError error(const std::string& what) const { return file_.error(what); }

  /// The stream that FFmpeg prefers of this type.
  [[nodiscard]] AVStream& best_stream(AVMediaType type, const char* what) const;
  [[nodiscard]] Codec open_codec(const AVStream& stream) const;
  /// The next packet of `stream`; false at the end of the file.
  bool next_packet(const AVStream& stream, AVPacket& packet);
  /// Once every packet was read: whether the file is as long as its header says. FFmpeg reads what
  /// is left of a cut file without complaint.
  void check_whole(const AVStream& stream) const;
  /// Throws where `status`, of a call to FFmpeg, is a failure, or where time is up.
  void require(int status, const char* what) const;
  void check_time() const { DecodeBudget::require_time(deadline_, file_.path()); }

 private:
  void note_end(const AVPacket& packet);
  void open();
  void close();
  // What FFmpeg calls; `self` is the container.
  static int read_bytes(void* self, uint8_t* into, int count);
  static int64_t seek_to(void* self, int64_t offset, int whence);
  static int refuse_to_open(AVFormatContext* format, AVIOContext** io, const char* url, int flags,
                            AVDictionary** options);
  static int is_late(void* self);

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

/// Feeds packets of one stream to its decoder and hands out what comes back.
class StreamDecoder {
 public:
  StreamDecoder(Container& container, const AVStream& stream);

  /// False at the end.
  bool next(AVFrame& frame);

 private:
  void require_few_scans() const;

  Container& container_;
  const AVStream& stream_;
  Codec codec_;
  Packet packet_;
};

}  // namespace unbraid
