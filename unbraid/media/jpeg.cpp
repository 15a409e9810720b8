// jpeglib.h wants what <cstdio> declares, and boolean and sizes of its own.
#include <cstdio>

#include <jpeglib.h>

#include <algorithm>
#include <array>
#include <csetjmp>
#include <exception>

#include <fmt/format.h>

#include "unbraid/core/error.h"
#include "unbraid/media/image_codecs.h"
#include "unbraid/media/limits.h"

namespace unbraid {
namespace {

/// libjpeg on one file. It reports by a jump out of its own functions, which must not pass by any
/// destructor: so each of its functions is called by `call`, which throws.
class JpegReader {
 public:
  JpegReader(const std::string& content, const std::string& path) : path_(path) {
    info_.err = jpeg_std_error(&errors_);
    info_.client_data = this;
    errors_.error_exit = [](j_common_ptr info) { of(info).leave(info); };
    // A mere warning too: it means that pixels were made up.
    errors_.emit_message = [](j_common_ptr info, int level) {
      if (level < 0) {
        of(info).leave(info);
      }
    };
    call([this] { jpeg_create_decompress(&info_); });
    progress_.progress_monitor = [](j_common_ptr info) { of(info).watch(); };
    info_.progress = &progress_;
    try {
      call([this, &content] {
        jpeg_mem_src(&info_, reinterpret_cast<const unsigned char*>(content.data()),
                     content.size());
        jpeg_read_header(&info_, TRUE);
      });
    } catch (...) {
      jpeg_destroy_decompress(&info_);
      throw;
    }
  }
  ~JpegReader() { jpeg_destroy_decompress(&info_); }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  [[nodiscard]] int64_t height() const { return info_.image_height; }
  [[nodiscard]] int64_t width() const { return info_.image_width; }
  [[nodiscard]] int64_t channels() const { return info_.jpeg_color_space == JCS_GRAYSCALE ? 1 : 3; }
  [[nodiscard]] bool is_cmyk() const {
    return info_.jpeg_color_space == JCS_CMYK || info_.jpeg_color_space == JCS_YCCK;
  }

  /// `part` into `pixels`, which has room for all rows.
  void read(const Crop& part, uint8_t* pixels) {
    call([this, &part, pixels] {
      info_.out_color_space = channels() == 1 ? JCS_GRAYSCALE : JCS_RGB;
      jpeg_start_decompress(&info_);
      // Of colours at half the resolution, those at an edge are made with their neighbours.
      constexpr int64_t kMargin = 4;
      const int64_t first = std::max<int64_t>(0, part.left - kMargin);
      const int64_t end = std::min(width(), part.left + part.width + kMargin);
      auto left = static_cast<JDIMENSION>(first);
      auto columns = static_cast<JDIMENSION>(end - first);
      if (end - first < width()) {
        jpeg_crop_scanline(&info_, &left, &columns);
      }
      uint8_t* const corner = pixels + static_cast<int64_t>(left) * channels();
      if (part.top > 0) {
        jpeg_skip_scanlines(&info_, static_cast<JDIMENSION>(part.top));
      }
      read_rows(part.top + part.height, corner);
      // What is below is looked at too, so that damage is found wherever it is; skipping to the
      // very end would leave it out.
      const int64_t left_over = height() - info_.output_scanline;
      if (left_over > 1) {
        jpeg_skip_scanlines(&info_, static_cast<JDIMENSION>(left_over - 1));
      }
      read_rows(height(), corner);
      jpeg_finish_decompress(&info_);
    });
  }

 private:
  static JpegReader& of(j_common_ptr info) { return *static_cast<JpegReader*>(info->client_data); }

  template <typename Action>
  void call(Action action) {
    if (setjmp(place_) == 0) {
      action();
      return;
    }
    if (stopped_ != nullptr) {
      std::rethrow_exception(stopped_);
    }
    throw DataError(fmt::format("{}: damaged or truncated JPEG: {}", path_, message_.data()));
  }

  // Those before `end`; `corner` is where the first row of the image begins.
  void read_rows(int64_t end, uint8_t* corner) {
    const int64_t stride = width() * channels();
    std::array<JSAMPROW, 16> rows;
    while (info_.output_scanline < end) {
      const int64_t count = std::min<int64_t>(rows.size(), end - info_.output_scanline);
      for (int64_t i = 0; i < count; ++i) {
        rows[static_cast<size_t>(i)] = corner + (info_.output_scanline + i) * stride;
      }
      jpeg_read_scanlines(&info_, rows.data(), static_cast<JDIMENSION>(count));
    }
  }

  [[noreturn]] void leave(j_common_ptr info) {
    info->err->format_message(info, message_.data());
    std::longjmp(place_, 1);
  }

  // A progressive file may hold any number of scans over the whole image.
  void watch() {
    constexpr int kMostScans = 500;
    if (jpeg_has_multiple_scans(&info_) == FALSE) {
      return;
    }
    if (info_.input_scan_number > kMostScans) {
      fmt::format_to_n(message_.data(), message_.size() - 1, "more than {} scans", kMostScans);
      std::longjmp(place_, 1);
    }
    try {
      DecodeBudget::require_time(deadline_, path_);
    } catch (...) {
      stopped_ = std::current_exception();
    }
    if (stopped_ != nullptr) {
      std::longjmp(place_, 1);
    }
  }

  const std::string& path_;
  DecodeBudget::Clock::time_point deadline_ = DecodeBudget::deadline();
  jpeg_decompress_struct info_{};
  jpeg_error_mgr errors_{};
  jpeg_progress_mgr progress_{};
  std::jmp_buf place_{};
  std::array<char, JMSG_LENGTH_MAX> message_{};
  std::exception_ptr stopped_;
};

}  // namespace

torch::Tensor decode_jpeg(const std::string& content, const std::string& path,
                          const PartOf& part_of) {
  JpegReader reader(content, path);
  check_image_size(reader.height(), reader.width(), path);
  if (reader.is_cmyk()) {
    throw DataError(fmt::format("{}: expected a grey or RGB image, found a CMYK JPEG", path));
  }
  torch::Tensor image =
      torch::empty({reader.height(), reader.width(), reader.channels()}, torch::kUInt8);
  reader.read(part_of(reader.height(), reader.width()), image.data_ptr<uint8_t>());
  return image;
}

}  // namespace unbraid
