#include <png.h>

#include <bit>
#include <csetjmp>
#include <cstring>
#include <exception>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "unbraid/core/error.h"
#include "unbraid/media/image_codecs.h"
#include "unbraid/media/limits.h"

namespace unbraid {
namespace {

constexpr png_alloc_size_t kMostChunkBytes = 1 << 20;
constexpr size_t kMostSurplusBytes = 1 << 14;  // of pixels after the last row, compressed
constexpr const char* kSurplus = "more pixels than its header says";

// libpng reports errors by longjmp, which must not pass over a destructor: so everything with one
// lives in this object, and each step below is a function of plain values.
class PngReader {
 public:
  // `numbers`: as decode_png_numbers says; otherwise as decode_png.
  PngReader(const std::string& content, const std::string& path, bool numbers)
      : path_(path), numbers_(numbers), next_(content.data()), left_(content.size()) {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, on_error, on_warning);
    info_ = png_ == nullptr ? nullptr : png_create_info_struct(png_);
    if (info_ == nullptr) {
      png_destroy_read_struct(&png_, nullptr, nullptr);
      throw std::bad_alloc();
    }
    png_set_read_fn(png_, this, on_read);
    png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // check_image_size says it better
    // libpng inflates and keeps text before it knows the size of the image: 8 MB a chunk.
    png_set_chunk_cache_max(png_, 1);
    png_set_chunk_malloc_max(png_, kMostChunkBytes);
  }
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  torch::Tensor read() {
    step(&PngReader::read_header);
    const int64_t height = png_get_image_height(png_, info_);
    const int64_t width = png_get_image_width(png_, info_);
    check_image_size(height, width, path_);
    if (numbers_) {
      check_numbers();
    }
    step(numbers_ ? &PngReader::ask_for_numbers : &PngReader::ask_for_bytes);
    const int64_t channels = png_get_channels(png_, info_);
    const bool wide = png_get_bit_depth(png_, info_) == 16;
    torch::Tensor image =
        torch::empty({height, width, channels}, wide ? torch::kShort : torch::kUInt8);
    rows_.resize(height);
    for (int64_t row = 0; row < height; ++row) {
      rows_[row] = static_cast<png_bytep>(image[row].data_ptr());
    }
    step(&PngReader::read_pixels);
    return wide ? image.to(torch::kInt).bitwise_and_(0xffff) : image;
  }

 private:
  void step(void (PngReader::*action)()) {
    if (setjmp(png_jmpbuf(png_)) != 0) {
      if (stopped_ != nullptr) {
        std::rethrow_exception(stopped_);
      }
      throw DataError(fmt::format("{}: damaged or truncated PNG: {}", path_, error_));
    }
    (this->*action)();
  }

  void read_header() { png_read_info(png_, info_); }

  // 8 bits, grey or RGB, nothing packed and no alpha.
  void ask_for_bytes() {
    const int type = png_get_color_type(png_, info_);
    if (type == PNG_COLOR_TYPE_PALETTE) {
      png_set_palette_to_rgb(png_);
    } else if (type == PNG_COLOR_TYPE_GRAY) {
      png_set_expand_gray_1_2_4_to_8(png_);
    }
    png_set_scale_16(png_);
    png_set_strip_alpha(png_);
    png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
  }

  void check_numbers() const {
    const int type = png_get_color_type(png_, info_);
    if (type != PNG_COLOR_TYPE_GRAY && type != PNG_COLOR_TYPE_PALETTE) {
      throw DataError(
          fmt::format("{}: expected a PNG with one number for each pixel (grey without "
                      "transparency, or with a palette), found {}",
                      path_, type == PNG_COLOR_TYPE_GRAY_ALPHA ? "grey and alpha" : "RGB"));
    }
  }

  // Nothing packed, in the byte order of this machine.
  void ask_for_numbers() {
    png_set_packing(png_);
    if constexpr (std::endian::native == std::endian::little) {
      png_set_swap(png_);
    }
    png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
  }

  void read_pixels() {
    png_read_image(png_, rows_.data());
    png_read_end(png_, nullptr);
  }

  static void on_read(png_structp png, png_bytep bytes, size_t count) {
    auto* reader = static_cast<PngReader*>(png_get_io_ptr(png));
    if (count > reader->left_) {
      png_error(png, "the file ends too early");
    }
    if (reader->watch(count)) {
      png_error(png, kSurplus);
    }
    std::memcpy(bytes, reader->next_, count);
    reader->next_ += count;
    reader->left_ -= count;
  }

  // As libpng reads on: some bytes may hold a thousand times as many pixels, which it inflates even
  // where no row is left for them. Whether they are too many; throws nothing.
  bool watch(size_t count) {
    try {
      DecodeBudget::require_time(deadline_, path_);
    } catch (...) {
      stopped_ = std::current_exception();
      return true;
    }
    constexpr png_uint_32 kPixels = 0x49444154;  // "IDAT"
    constexpr png_byte kPasses = 7;
    const bool of_pixels = png_get_io_chunk_type(png_) == kPixels && !rows_.empty();
    const bool all_read = png_get_interlace_type(png_, info_) == PNG_INTERLACE_NONE
                              ? png_get_current_row_number(png_) >= rows_.size()
                              : png_get_current_pass_number(png_) >= kPasses;
    surplus_ += of_pixels && all_read ? count : 0;
    return surplus_ > kMostSurplusBytes;
  }

  [[noreturn]] static void on_error(png_structp png, png_const_charp message) {
    auto* reader = static_cast<PngReader*>(png_get_error_ptr(png));
    std::strncpy(reader->error_, message, sizeof(reader->error_) - 1);
    png_longjmp(png, 1);
  }

  // What else libpng warns of concerns metadata; pixels that are damaged or absent are errors.
  static void on_warning(png_structp png, png_const_charp message) {
    if (std::string_view(message).ends_with("Too much image data")) {
      png_error(png, kSurplus);
    }
  }

  const std::string& path_;
  const bool numbers_;
  const char* next_;
  size_t left_;
  size_t surplus_ = 0;
  DecodeBudget::Clock::time_point deadline_ = DecodeBudget::deadline();
  std::exception_ptr stopped_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  std::vector<png_bytep> rows_;
  char error_[128] = {};
};

}  // namespace

torch::Tensor decode_png(const std::string& content, const std::string& path) {
  return PngReader(content, path, false).read();
}

torch::Tensor decode_png_numbers(const std::string& content, const std::string& path) {
  return PngReader(content, path, true).read();
}

}  // namespace unbraid
