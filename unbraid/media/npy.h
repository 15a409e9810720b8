#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace unbraid {

/// The first bytes of every .npy file.
inline constexpr std::string_view kNpyMagic = "\x93NUMPY";

/// What the header of a .npy file says (versions 1 to 3 of NumPy's format).
struct NpyHeader {
  char kind = 'f';  // 'b' truth value, 'i' and 'u' integer, 'f' floating point
  int item_size = 4;
  bool big_endian = false;
  bool fortran_order = false;  // the first index runs fastest
  std::vector<int64_t> shape;
  size_t data_offset = 0;
};

/// A .npy file in memory. Every real type of NumPy up to 8 bytes is read, in either byte order and
/// either order of elements; failures are a DataError that names `source`.
class NpyArray {
 public:
  /// Takes the whole content of a file; its size must be exactly what its header says.
  NpyArray(std::string content, std::string source);

  [[nodiscard]] const std::vector<int64_t>& shape() const { return header_.shape; }
  [[nodiscard]] int64_t size() const { return size_; }
  /// Fills `values` with the elements from number `first` on, counted with the last index running
  /// fastest, rounded to float. Throws when one is not finite as a float. Thread-safe.
  void read(int64_t first, std::span<float> values) const;

 private:
  std::string content_;
  std::string source_;
  NpyHeader header_;
  int64_t size_ = 1;
};

}  // namespace unbraid
