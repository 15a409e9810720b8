#include "unbraid/media/whole.h"

#include <algorithm>
#include <bit>
#include <string>
#include <string_view>

#include <fmt/format.h>

namespace unbraid {
namespace {

/// Bytes of a file one by one.
class Bytes {
 public:
  explicit Bytes(const File& file) : file_(file) {}

  /// -1 beyond the end.
  int at(int64_t offset) {
    if (offset < first_ || offset >= first_ + static_cast<int64_t>(window_.size())) {
      constexpr int64_t kWindow = 1 << 14;
      first_ = offset;
      window_ = offset < file_.size() ? file_.read(offset, kWindow) : "";
    }
    return window_.empty() ? -1 : static_cast<unsigned char>(window_[offset - first_]);
  }

 private:
  const File& file_;
  int64_t first_ = 0;
  std::string window_;
};

void expect_bytes(const File& file, int64_t size) {
  if (size > file.size()) {
    throw file.error(fmt::format("truncated: expected {} bytes, found {}", size, file.size()));
  }
}

/// EBML's numbers of one to eight bytes, the length told by the zeros before the first one; -1 for
/// what stands for an unknown size, or is none. Moves `at` behind it.
int64_t ebml_size(Bytes& bytes, int64_t& at) {
  const int first = bytes.at(at++);
  if (first <= 0) {
    return -1;
  }
  const int more = std::countl_zero(static_cast<unsigned char>(first));
  int64_t value = first & (0x7f >> more);
  for (int i = 0; i < more; ++i) {
    const int next = bytes.at(at++);
    if (next < 0) {
      return -1;
    }
    value = value << 8 | next;
  }
  return value == (int64_t{1} << (7 * (more + 1))) - 1 ? -1 : value;
}

// RFC 8794 and 9559: a header, then one segment that holds all.
void check_matroska(const File& file) {
  Bytes bytes(file);
  int64_t at = 4;
  const int64_t header = ebml_size(bytes, at);
  if (header < 0 || header > file.size()) {
    return;
  }
  at += header;
  if (file.read(at, 4) != "\x18\x53\x80\x67") {
    return;
  }
  at += 4;
  const int64_t segment = ebml_size(bytes, at);
  if (segment >= 0) {
    expect_bytes(file, at + segment);
  }
}

// A header object, then one that holds all of the packets.
void check_asf(const File& file) {
  constexpr int64_t kObjectHeader = 24;
  const auto size_at = [&](int64_t offset) {
    const std::string size = file.read(offset + 16, 8);
    return size.size() < 8 ? 0
                           : int64_t{little_endian(size, 0)} |
                                 int64_t{little_endian(size, 4) & 0x7fffffff} << 32;
  };
  const int64_t header = size_at(0);
  constexpr int64_t kMostBytes = int64_t{1} << 40;
  if (header < kObjectHeader || header > file.size() ||
      file.read(header, 4) != "\x36\x26\xb2\x75" || size_at(header) > kMostBytes) {
    return;
  }
  expect_bytes(file, header + size_at(header));
}

// Blocks up to a trailer; what is none of those known is left to the decoder.
void check_gif(const File& file) {
  Bytes bytes(file);
  const auto table = [](int flags) {
    return (flags & 0x80) != 0 ? int64_t{3} << ((flags & 7) + 1) : int64_t{0};
  };
  int64_t at = 13 + table(bytes.at(10));
  for (int kind = bytes.at(at); kind == '!' || kind == ','; kind = bytes.at(at)) {
    at += kind == '!' ? 2 : 11 + table(bytes.at(at + 9));
    for (int part = bytes.at(at); part > 0; part = bytes.at(at)) {
      at += 1 + part;
    }
    ++at;
  }
  if (bytes.at(at) < 0) {
    throw file.error("truncated: it ends before the end of a GIF");
  }
}

/// The number in the four bytes of `bytes` from `offset` on, the highest first.
int64_t big_endian(const std::string& bytes, size_t offset) {
  int64_t value = 0;
  for (size_t i = 0; i < 4; ++i) {
    value = value << 8 | static_cast<unsigned char>(bytes[offset + i]);
  }
  return value;
}

// Adobe's: a header, then tags of sound, pictures and texts, each with its size before it and the
// size of the one before between them.
void check_flv(const File& file, const std::string& start) {
  constexpr int64_t kTagHeader = 11;
  Bytes bytes(file);
  const auto is_tag = [](int type) { return type == 8 || type == 9 || type == 18; };
  for (int64_t at = big_endian(start, 5) + 4; is_tag(bytes.at(at)); at += 4) {
    int64_t size = 0;
    for (int64_t i = 1; i <= 3; ++i) {
      size = size << 8 | std::max(bytes.at(at + i), 0);
    }
    at += kTagHeader + size;
    expect_bytes(file, at);
  }
}

// Sun's: where the samples begin and how many bytes they take, which a stream does not know.
void check_au(const File& file, const std::string& start) {
  constexpr int64_t kUnknown = 0xffffffff;
  if (big_endian(start, 8) != kUnknown) {
    expect_bytes(file, big_endian(start, 4) + big_endian(start, 8));
  }
}

// Sony's Wave64: the size of all follows the first identifier.
void check_w64(const File& file) {
  const std::string start = file.read(0, 24);
  if (start.size() == 24 && little_endian(start, 20) == 0) {
    expect_bytes(file, little_endian(start, 16));
  }
}

}  // namespace

void check_is_whole(const File& file) {
  const std::string start = file.read(0, 12);
  if (start.size() < 12) {
    return;
  }
  if (start.starts_with("RIFF") && start.ends_with("AVI ")) {
    expect_bytes(file, 8 + int64_t{little_endian(start, 4)});
  } else if (start.starts_with("\x1a\x45\xdf\xa3")) {
    check_matroska(file);
  } else if (start.starts_with("\x30\x26\xb2\x75\x8e\x66\xcf\x11")) {
    check_asf(file);
  } else if (start.starts_with("GIF8")) {
    check_gif(file);
  } else if (start.starts_with("FLV\x01")) {
    check_flv(file, start);
  } else if (start.starts_with("FORM") && (start.ends_with("AIFF") || start.ends_with("AIFC"))) {
    expect_bytes(file, 8 + big_endian(start, 4));
  } else if (start.starts_with(".snd")) {
    check_au(file, start);
  } else if (start.starts_with("riff\x2e\x91\xcf\x11")) {
    check_w64(file);
  }
}

}  // namespace unbraid
