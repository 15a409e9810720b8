#include "unbraid/media/npy.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "unbraid/core/error.h"

namespace unbraid {
namespace {

constexpr size_t kMaxHeader = 65536;
constexpr size_t kMaxDimensions = 32;

using LoadElement = float (*)(const char* bytes, bool swap);

template <typename T>
T load(const char* bytes, bool swap) {
  std::array<char, sizeof(T)> ordered{};
  for (size_t i = 0; i < sizeof(T); ++i) {
    ordered[i] = bytes[swap ? sizeof(T) - 1 - i : i];
  }
  return std::bit_cast<T>(ordered);
}

template <typename T>
float load_number(const char* bytes, bool swap) {
  return static_cast<float>(load<T>(bytes, swap));
}

float load_truth(const char* bytes, bool /*swap*/) { return *bytes == 0 ? 0.0F : 1.0F; }

float load_half(const char* bytes, bool swap) {
  const auto bits = load<uint16_t>(bytes, swap);
  const int exponent = bits >> 10 & 0x1f;
  const int fraction = bits & 0x3ff;
  float magnitude = 0;
  if (exponent == 0x1f) {
    magnitude = fraction == 0 ? INFINITY : NAN;
  } else if (exponent == 0) {
    magnitude = std::ldexp(static_cast<float>(fraction), -24);
  } else {
    magnitude = std::ldexp(static_cast<float>(fraction + 0x400), exponent - 25);
  }
  return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

// Null when there is no such type.
LoadElement loader_of(char kind, int64_t item_size) {
  struct Type {
    char kind;
    int64_t item_size;
    LoadElement load;
  };
  static constexpr Type kTypes[] = {
      {'b', 1, load_truth},
      {'i', 1, load_number<int8_t>},
      {'i', 2, load_number<int16_t>},
      {'i', 4, load_number<int32_t>},
      {'i', 8, load_number<int64_t>},
      {'u', 1, load_number<uint8_t>},
      {'u', 2, load_number<uint16_t>},
      {'u', 4, load_number<uint32_t>},
      {'u', 8, load_number<uint64_t>},
      {'f', 2, load_half},
      {'f', 4, load_number<float>},
      {'f', 8, load_number<double>},
  };
  for (const Type& type : kTypes) {
    if (type.kind == kind && type.item_size == item_size) {
      return type.load;
    }
  }
  return nullptr;
}

// Reads the header's text, a Python literal like
// {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
class HeaderReader {
 public:
  HeaderReader(std::string_view text, const std::string& source) : rest_(text), source_(source) {}

  ArrayLayout read() {
    ArrayLayout layout;
    bool has_type = false;
    bool has_order = false;
    bool has_shape = false;
    expect("{");
    while (!accept("}")) {
      const std::string_view key = text();
      expect(":");
      if (key == "descr" && !std::exchange(has_type, true)) {
        read_type(layout);
      } else if (key == "fortran_order" && !std::exchange(has_order, true)) {
        layout.fortran_order = boolean();
      } else if (key == "shape" && !std::exchange(has_shape, true)) {
        layout.shape = shape();
      } else {
        throw error(fmt::format("its header has an unknown or repeated key, number {} of it",
                                has_type + has_order + has_shape + 1));
      }
      if (!accept(",")) {
        expect("}");
        break;
      }
    }
    skip_space();
    if (!rest_.empty() || !has_type || !has_order || !has_shape) {
      throw error("its header is not {'descr': …, 'fortran_order': …, 'shape': …}");
    }
    return layout;
  }

 private:
  [[nodiscard]] DataError error(const std::string& what) const {
    return DataError(fmt::format("{}: damaged .npy file: {}", source_, what));
  }

  void skip_space() {
    rest_.remove_prefix(std::min(rest_.find_first_not_of(" \t\n"), rest_.size()));
  }

  bool accept(std::string_view word) {
    skip_space();
    if (!rest_.starts_with(word)) {
      return false;
    }
    rest_.remove_prefix(word.size());
    return true;
  }

  void expect(std::string_view word) {
    if (!accept(word)) {
      throw error(fmt::format("expected '{}' in its header, {} bytes before the header's end", word,
                              rest_.size()));
    }
  }

  std::string_view text() {
    const bool single = accept("'");
    if (!single) {
      expect("\"");
    }
    const size_t end = rest_.find(single ? '\'' : '"');
    if (end == std::string_view::npos) {
      throw error("a string in its header is not closed");
    }
    const std::string_view word = rest_.substr(0, end);
    rest_.remove_prefix(end + 1);
    return word;
  }

  bool boolean() {
    if (accept("True")) {
      return true;
    }
    expect("False");
    return false;
  }

  void read_type(ArrayLayout& layout) {
    skip_space();
    if (rest_.starts_with('[')) {
      throw DataError(
          fmt::format("{}: expected numbers, found records of several fields", source_));
    }
    const std::string_view type = text();
    const bool known = type.size() == 3 && std::string_view("<>|=").find(type[0]) < 4;
    layout.kind = known ? type[1] : '?';
    layout.item_size = known ? type[2] - '0' : 0;
    layout.big_endian = known && type[0] == '>';
    const bool ordered = known && (type[0] == '<' || type[0] == '>' || layout.item_size == 1);
    if (!ordered || !layout.is_numeric()) {
      throw DataError(
          fmt::format("{}: expected real numbers of at most 8 bytes, found the type '{}'", source_,
                      type.substr(0, 40)));
    }
  }

  std::vector<int64_t> shape() {
    std::vector<int64_t> sizes;
    expect("(");
    while (!accept(")")) {
      sizes.push_back(dimension());
      if (!accept(",")) {
        expect(")");
        break;
      }
    }
    if (sizes.size() > kMaxDimensions) {
      throw error(
          fmt::format("expected at most {} dimensions, found {}", kMaxDimensions, sizes.size()));
    }
    return sizes;
  }

  int64_t dimension() {
    skip_space();
    int64_t size = 0;
    const auto [end, failure] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), size);
    if (failure != std::errc() || size < 0) {
      throw error("its shape holds something else than sizes");
    }
    rest_.remove_prefix(end - rest_.data());
    return size;
  }

  std::string_view rest_;
  const std::string& source_;
};

// Sets `data_offset` to where the values start.
ArrayLayout read_header(std::string_view content, const std::string& source, size_t& data_offset) {
  const auto byte = [&](size_t offset) -> size_t {
    return offset < content.size() ? static_cast<unsigned char>(content[offset]) : 0;
  };
  if (!content.starts_with(kNpyMagic)) {
    throw DataError(fmt::format("{}: expected a .npy file, its content is none", source));
  }
  const size_t version = byte(6);
  if (version < 1 || version > 3) {
    throw DataError(fmt::format("{}: expected version 1, 2 or 3 of the .npy format, found {}",
                                source, version));
  }
  const size_t start = version == 1 ? 10 : 12;
  size_t length = byte(8) | byte(9) << 8;
  if (version > 1) {
    length |= byte(10) << 16 | byte(11) << 24;
  }
  if (length > kMaxHeader || start + length > content.size()) {
    throw DataError(fmt::format("{}: truncated or damaged: a header of {} bytes in a file of {}",
                                source, length, content.size()));
  }
  data_offset = start + length;
  return HeaderReader(content.substr(start, length), source).read();
}

}  // namespace

std::optional<int64_t> ArrayLayout::size() const {
  int64_t count = 1;
  int64_t bytes = item_size;
  for (const int64_t dimension : shape) {
    if (__builtin_mul_overflow(count, dimension, &count) ||
        __builtin_mul_overflow(bytes, dimension, &bytes)) {
      return std::nullopt;
    }
  }
  return count;
}

bool ArrayLayout::is_numeric() const { return loader_of(kind, item_size) != nullptr; }

int64_t ArrayLayout::place_of(int64_t index) const {
  if (!fortran_order) {
    return index;
  }
  int64_t place = 0;
  int64_t stride = size().value();
  for (size_t axis = shape.size(); axis-- > 0;) {
    stride /= shape[axis];
    place += index % shape[axis] * stride;
    index /= shape[axis];
  }
  return place;
}

void ArrayLayout::read(const char* data, int64_t first, std::span<float> values) const {
  const LoadElement load_element = loader_of(kind, item_size);
  for (size_t i = 0; i < values.size(); ++i) {
    const int64_t place = place_of(first + static_cast<int64_t>(i));
    values[i] = load_element(data + place * item_size, big_endian);
  }
}

NpyArray::NpyArray(std::string content, std::string source)
    : content_(std::move(content)),
      source_(std::move(source)),
      layout_(read_header(content_, source_, data_offset_)) {
  const std::optional<int64_t> size = layout_.size();
  const auto found = static_cast<int64_t>(content_.size() - data_offset_);
  if (!size || *size * layout_.item_size != found) {
    throw DataError(fmt::format(
        "{}: truncated or damaged: its header says {} bytes of values, the file has {}", source_,
        size ? std::to_string(*size * layout_.item_size) : "more than 2^63", found));
  }
  size_ = *size;
}

void NpyArray::read(int64_t first, std::span<float> values) const {
  layout_.read(content_.data() + data_offset_, first, values);
  for (size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) {
      throw DataError(fmt::format("{}: expected finite values, element {} is {} as float32",
                                  source_, first + static_cast<int64_t>(i), values[i]));
    }
  }
}

std::string npy_header(const std::vector<int64_t>& shape) {
  static_assert(std::endian::native == std::endian::little);
  constexpr size_t kStart = 10;
  constexpr size_t kAlignment = 64;
  std::string text = fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}{}), }}",
                                 fmt::join(shape, ", "), shape.size() == 1 ? "," : "");
  text.resize((kStart + text.size() + kAlignment) / kAlignment * kAlignment - kStart - 1, ' ');
  text += '\n';
  const auto length = static_cast<uint16_t>(text.size());
  return fmt::format("{}\x01{}{}{}{}", kNpyMagic, '\0', static_cast<char>(length & 0xff),
                     static_cast<char>(length >> 8), text);
}

}  // namespace unbraid
