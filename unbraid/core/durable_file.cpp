#include "unbraid/core/durable_file.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unbraid/core/error.h"

namespace unbraid {
namespace {

namespace fs = std::filesystem;

// Linux transfers at most 2 GiB - 4 KiB a call.
constexpr uint64_t kLargestTransfer = uint64_t{1} << 30;

[[noreturn]] void fail(const fs::path& path, std::string_view action, int error) {
  throw StorageError(fmt::format("{}: cannot {}: {}", path.string(), action,
                                 std::generic_category().message(error)));
}

// `named`: what an error calls it.
int open_or_fail(const fs::path& path, int flags, std::string_view action, const fs::path& named) {
  int descriptor = -1;
  do {
    descriptor = ::open(path.c_str(), flags | O_CLOEXEC, 0666);
  } while (descriptor < 0 && errno == EINTR);
  if (descriptor < 0) {
    fail(named, action, errno);
  }
  return descriptor;
}

int open_or_fail(const fs::path& path, int flags, std::string_view action) {
  return open_or_fail(path, flags, action, path);
}

// Some file systems cannot sync a directory and say EINVAL; there is nothing better to do there.
void sync_or_fail(const fs::path& path, const FileDescriptor& file, bool is_directory) {
  if (::fsync(file.get()) != 0 && !(is_directory && errno == EINVAL)) {
    fail(path, "sync to disk", errno);
  }
}

void write_or_fail(const fs::path& path, const FileDescriptor& file, const char* source,
                   uint64_t bytes) {
  while (bytes > 0) {
    const ssize_t count = ::write(file.get(), source, std::min(bytes, kLargestTransfer));
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count < 0) {
      fail(path, "write", errno);
    }
    source += count;
    bytes -= static_cast<uint64_t>(count);
  }
}

std::string_view kind_of(mode_t mode) {
  return S_ISDIR(mode) ? "a directory" : "a device or a pipe";
}

const fs::path& replaceable(const fs::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
    throw StorageError(fmt::format("{}: cannot be replaced: expected a regular file, found {}",
                                   path.string(), kind_of(status.st_mode)));
  }
  return path;
}

bool is_staging_of_dead_process(std::string_view name, std::string_view prefix) {
  if (!name.starts_with(prefix)) {
    return false;
  }
  const std::string_view digits = name.substr(prefix.size());
  pid_t process = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), process);
  return error == std::errc() && end == digits.data() + digits.size() && process > 0 &&
         ::kill(process, 0) != 0 && errno == ESRCH;
}

}  // namespace

FileDescriptor::~FileDescriptor() { close(); }

int FileDescriptor::close() {
  const int descriptor = std::exchange(descriptor_, -1);
  return descriptor < 0 ? 0 : ::close(descriptor);
}

InputFile::InputFile(std::string path)
    : path_(std::move(path)), file_(open_or_fail(path_, O_RDONLY | O_NONBLOCK | O_NOCTTY, "open")) {
  struct stat status {};
  if (::fstat(file_.get(), &status) != 0) {
    fail(path_, "open", errno);
  }
  if (!S_ISREG(status.st_mode)) {
    throw StorageError(
        fmt::format("{}: expected a regular file, found {}", path_, kind_of(status.st_mode)));
  }
  size_ = static_cast<uint64_t>(status.st_size);
}

void InputFile::read(uint64_t offset, void* into, uint64_t bytes) const {
  auto* destination = static_cast<char*>(into);
  while (bytes > 0) {
    const ssize_t count = ::pread(file_.get(), destination, std::min(bytes, kLargestTransfer),
                                  static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count < 0) {
      fail(path_, "read", errno);
    }
    if (count == 0) {
      throw StorageError(fmt::format("{}: the file ends at byte {}, expected {} bytes more", path_,
                                     offset, bytes));
    }
    destination += count;
    offset += static_cast<uint64_t>(count);
    bytes -= static_cast<uint64_t>(count);
  }
}

DurableFile::DurableFile(const fs::path& path)
    : path_(replaceable(resolved_target(path))),
      staging_(prepare_staging(path_)),
      file_(open_or_fail(staging_, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, "create", path_)) {}

DurableFile::~DurableFile() {
  if (!committed_) {
    std::error_code ignored;
    fs::remove(staging_, ignored);
  }
}

void DurableFile::write(const void* data, uint64_t bytes) {
  write_or_fail(path_, file_, static_cast<const char*>(data), bytes);
}

void DurableFile::commit() {
  sync_or_fail(path_, file_, /*is_directory=*/false);
  if (file_.close() != 0) {
    fail(path_, "write", errno);
  }
  if (::rename(staging_.c_str(), path_.c_str()) != 0) {
    fail(path_, "replace", errno);
  }
  committed_ = true;
  sync_path(folder_of(path_));
}

std::string read_whole_file(const fs::path& path, uint64_t max_bytes) {
  const InputFile file(path.string());
  if (file.size() > max_bytes) {
    throw StorageError(fmt::format("{}: expected at most {} bytes, found {}", path.string(),
                                   max_bytes, file.size()));
  }
  std::string content(file.size(), '\0');
  file.read(0, content.data(), content.size());
  return content;
}

void write_file_durably(const fs::path& path, std::string_view content) {
  DurableFile file(path);
  file.write(content.data(), content.size());
  file.commit();
}

void append_durably(const fs::path& path, std::string_view content) {
  FileDescriptor file(
      open_or_fail(path, O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK | O_NOCTTY, "write"));
  write_or_fail(path, file, content.data(), content.size());
  sync_or_fail(path, file, /*is_directory=*/false);
  if (file.close() != 0) {
    fail(path, "write", errno);
  }
  sync_path(folder_of(path));
}

void cut_durably(const fs::path& path, uint64_t bytes) {
  const FileDescriptor file(open_or_fail(path, O_WRONLY | O_NONBLOCK | O_NOCTTY, "write"));
  if (::ftruncate(file.get(), static_cast<off_t>(bytes)) != 0) {
    fail(path, "write", errno);
  }
  sync_or_fail(path, file, /*is_directory=*/false);
}

void sync_path(const fs::path& path) {
  const FileDescriptor file(open_or_fail(path, O_RDONLY | O_NONBLOCK, "open"));
  sync_or_fail(path, file, fs::is_directory(path));
}

fs::path prepare_staging(const fs::path& target) {
  const std::string prefix = target.filename().string() + ".tmp.";
  std::error_code error;
  for (fs::directory_iterator entry(folder_of(target), error), end; !error && entry != end;
       entry.increment(error)) {
    if (is_staging_of_dead_process(entry->path().filename().string(), prefix)) {
      std::error_code ignored;
      fs::remove_all(entry->path(), ignored);
    }
  }
  fs::path staging = target;
  staging += fmt::format(".tmp.{}", ::getpid());
  return staging;
}

FileDescriptor lock_folder(const fs::path& folder, const std::string& does) {
  const int descriptor = open_or_fail(folder, O_RDONLY | O_DIRECTORY, "open");
  if (::flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    ::close(descriptor);
    throw StorageError(fmt::format("{}: another process {}", folder.string(), does));
  }
  return FileDescriptor(descriptor);
}

fs::path resolved_target(const fs::path& target) {
  fs::path bare = target.has_filename() ? target : target.parent_path();
  std::error_code error;
  if (!fs::is_symlink(bare, error)) {
    return bare;
  }
  fs::path real = fs::weakly_canonical(bare, error);
  return error ? bare : real;
}

fs::path folder_of(const fs::path& target) {
  return target.has_parent_path() ? target.parent_path() : fs::path(".");
}

}  // namespace unbraid
