#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace unbraid {

/// An open file that is closed with its owner.
class FileDescriptor {
 public:
  explicit FileDescriptor(int descriptor) : descriptor_(descriptor) {}
  ~FileDescriptor();
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;

  [[nodiscard]] int get() const { return descriptor_; }
  /// What close(2) returns; the descriptor is gone either way.
  int close();

 private:
  int descriptor_;
};

/// A regular file open for reading. A directory, a device or a FIFO is refused without blocking.
/// Every failure is a StorageError that names the file.
class InputFile {
 public:
  explicit InputFile(std::string path);

  [[nodiscard]] const std::string& path() const { return path_; }
  /// In bytes, when it was opened.
  [[nodiscard]] uint64_t size() const { return size_; }
  /// Reads exactly `bytes` bytes at `offset`; a file that ends before is an error.
  void read(uint64_t offset, void* into, uint64_t bytes) const;

 private:
  std::string path_;
  FileDescriptor file_;
  uint64_t size_ = 0;
};

/// A file that replaces the one at `path` as a whole: it is written beside it as
/// "<path>.tmp.<pid>", and `commit` syncs and renames it. At every moment, and after a crash,
/// `path` holds either the old content or the new. Without `commit` nothing changes. One writer a
/// path at a time. Every failure is a StorageError that names the file and the system's reason.
class DurableFile {
 public:
  explicit DurableFile(const std::filesystem::path& path);
  ~DurableFile();
  DurableFile(const DurableFile&) = delete;
  DurableFile& operator=(const DurableFile&) = delete;

  void write(const void* data, uint64_t bytes);
  void commit();

 private:
  std::filesystem::path path_;
  std::filesystem::path staging_;
  FileDescriptor file_;
  bool committed_ = false;
};

/// The content of a regular file of at most `max_bytes`; failures are a StorageError.
std::string read_whole_file(const std::filesystem::path& path, uint64_t max_bytes);

void write_file_durably(const std::filesystem::path& path, std::string_view content);

/// Adds `content` to the end of a file, which need not be there yet, and waits until it is on the
/// disk. A failure may leave the beginning of it.
void append_durably(const std::filesystem::path& path, std::string_view content);

/// Cuts a file down to its first `bytes` bytes and waits until that is on the disk.
void cut_durably(const std::filesystem::path& path, uint64_t bytes);

/// Waits until the content of a file or the entries of a directory are on the disk.
void sync_path(const std::filesystem::path& path);

/// The name beside `target` under which this process prepares its next content,
/// "<target>.tmp.<pid>". What processes that have died left under such names is removed.
std::filesystem::path prepare_staging(const std::filesystem::path& target);

/// `target` without a trailing slash; if it is a symbolic link, what it points to.
std::filesystem::path resolved_target(const std::filesystem::path& target);

/// Holds a folder until it is closed. Throws StorageError "<folder>: another process <does>" where
/// another process holds it; on file systems without locks nobody does.
FileDescriptor lock_folder(const std::filesystem::path& folder, const std::string& does);

/// The folder that holds `target`, "." for a bare name.
std::filesystem::path folder_of(const std::filesystem::path& target);

}  // namespace unbraid
