#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "unbraid/media/file.h"

namespace unbraid {

/// The first bytes of every ZIP archive that is not empty.
inline constexpr std::string_view kZipMagic = "PK\x03\x04";

/// What an archive says of one of its members; none of it is trusted.
struct ZipMember {
  std::string name;
  uint64_t size = 0;
  uint64_t packed_size = 0;  // in the archive
  bool stored = false;       // as it is, not compressed
};

/// A ZIP archive open for reading. Every failure is a DataError that names `file`, which must
/// outlive this, and `format`, as in ".npz".
class ZipArchive {
 public:
  ZipArchive(const File& file, std::string format);
  ~ZipArchive();
  ZipArchive(const ZipArchive&) = delete;
  ZipArchive& operator=(const ZipArchive&) = delete;

  [[nodiscard]] const std::vector<ZipMember>& members() const { return members_; }
  /// The number of the member of this name.
  [[nodiscard]] std::optional<size_t> find(std::string_view name) const;
  /// Reads all of a member, `members()[member].size` bytes, and checks its checksum.
  void read(size_t member, void* into) const;
  [[nodiscard]] std::string read(size_t member) const;

 private:
  struct Handle;

  [[nodiscard]] DataError damaged(const std::string& what) const;

  const File& file_;
  std::string format_;
  std::unique_ptr<Handle> handle_;
  std::vector<ZipMember> members_;
};

}  // namespace unbraid
