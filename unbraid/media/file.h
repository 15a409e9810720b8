#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>

#include "unbraid/core/error.h"

namespace unbraid {

/// Throws DataError unless `path` names a regular file that may be read and is not empty. Opens
/// nothing, so it is quick, and a FIFO cannot make it wait.
void check_file(const std::string& path);

/// Absolute path, size and time of the last change, for cache keys; throws DataError when there is
/// no such file.
std::string file_stamp(const std::string& path);

/// The extension of a name, in lower case: ".jpg".
std::string extension_of(const std::filesystem::path& path);
/// Whether its name begins with a dot, as that of what file managers leave beside files.
bool is_hidden(const std::filesystem::path& path);
/// Whether its name ends as that of an image that is read, .jpg, .jpeg, .png or .webp in any case,
/// and it is not hidden.
bool is_image_name(const std::filesystem::path& path);

/// Between the two paths of a cell that names a pair, as for optical flow.
inline constexpr char kPairSeparator = '|';

/// The number in the four bytes of `bytes` from `offset` on, the lowest first.
uint32_t little_endian(const std::string& bytes, size_t offset);

/// A regular file open for reading. Every failure is a DataError that names it.
class File {
 public:
  explicit File(std::string path);
  ~File();
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] int descriptor() const { return descriptor_; }
  [[nodiscard]] int64_t size() const { return size_; }
  /// Up to `count` bytes from `offset`; fewer only at the end of the file.
  [[nodiscard]] std::string read(int64_t offset, int64_t count) const;
  /// "<path>: <what>".
  [[nodiscard]] DataError error(const std::string& what) const;

 private:
  std::string path_;
  int descriptor_ = -1;
  int64_t size_ = 0;
};

/// The content of a regular file of at most `max_bytes`.
std::string read_file(const File& file, int64_t max_bytes);
std::string read_file(const std::string& path, int64_t max_bytes);

}  // namespace unbraid
