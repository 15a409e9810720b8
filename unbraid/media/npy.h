#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace unbraid {

/// The first bytes of every .npy file.
inline constexpr std::string_view kNpyMagic = "\x93NUMPY";

/// How the elements of an array of NumPy lie in memory.
struct ArrayLayout {
  char kind = 'f';  // 'b' truth value, 'i' and 'u' integer, 'f' floating point; others of NumPy
  int64_t item_size = 4;
  bool big_endian = false;
  bool fortran_order = false;  // the first index runs fastest
  std::vector<int64_t> shape;

  /// The number of elements; nothing when they or their bytes are more than 2^63.
  [[nodiscard]] std::optional<int64_t> size() const;
  /// Whether its elements are of a real type of at most 8 bytes.
  [[nodiscard]] bool is_numeric() const;
  /// The place in memory, counted in elements, of element `index`, counted with the last index
  /// running fastest.
  [[nodiscard]] int64_t place_of(int64_t index) const;
  /// Fills `values` with the elements of a numeric array at `data` from number `first` on, rounded
  /// to float.
  void read(const char* data, int64_t first, std::span<float> values) const;
};

/// A .npy file in memory. Every real type of NumPy up to 8 bytes is read, in either byte order and
/// either order of elements; failures are a DataError that names `source`.
class NpyArray {
 public:
  /// Takes the whole content of a file; its size must be exactly what its header says.
  NpyArray(std::string content, std::string source);

  [[nodiscard]] const std::vector<int64_t>& shape() const { return layout_.shape; }
  [[nodiscard]] int64_t size() const { return size_; }
  /// Fills `values` with the elements from number `first` on, counted with the last index running
  /// fastest, rounded to float. Throws when one is not finite as a float. Thread-safe.
  void read(int64_t first, std::span<float> values) const;

 private:
  std::string content_;
  std::string source_;
  size_t data_offset_ = 0;
  ArrayLayout layout_;
  int64_t size_ = 0;
};

/// The start of a .npy file of float32 values in this shape, last index fastest, as far as them.
std::string npy_header(const std::vector<int64_t>& shape);

}  // namespace unbraid
