#include "unbraid/media/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>

namespace unbraid {
namespace {

DataError cannot_read(const std::string& path) {
  return DataError(fmt::format("{}: cannot be read: {}", path, std::strerror(errno)));
}

void check_status(const std::string& path, const struct stat& status) {
  if (!S_ISREG(status.st_mode)) {
    throw DataError(fmt::format("{}: expected a regular file, found {}", path,
                                S_ISDIR(status.st_mode) ? "a folder" : "something else"));
  }
  if (status.st_size == 0) {
    throw DataError(fmt::format("{}: the file is empty", path));
  }
}

}  // namespace

void check_file(const std::string& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0 || access(path.c_str(), R_OK) != 0) {
    throw cannot_read(path);
  }
  check_status(path, status);
}

std::string file_stamp(const std::string& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) {
    throw cannot_read(path);
  }
  return fmt::format("{}\n{} {}.{:09}\n",
                     std::filesystem::absolute(path).lexically_normal().string(), status.st_size,
                     status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
}

std::string extension_of(const std::filesystem::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
  return extension;
}

bool is_hidden(const std::filesystem::path& path) {
  return path.filename().string().starts_with('.');
}

bool is_image_name(const std::filesystem::path& path) {
  const std::string extension = is_hidden(path) ? "" : extension_of(path);
  return extension == ".jpg" || extension == ".jpeg" || extension == ".png" || extension == ".webp";
}

uint32_t little_endian(const std::string& bytes, size_t offset) {
  uint32_t value = 0;
  for (size_t i = 4; i-- > 0;) {
    value = value << 8 | static_cast<unsigned char>(bytes[offset + i]);
  }
  return value;
}

File::File(std::string path) : path_(std::move(path)) {
  // Not blocking: opening a FIFO would otherwise wait for a writer.
  descriptor_ = open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor_ < 0) {
    throw cannot_read(path_);
  }
  try {
    struct stat status {};
    if (fstat(descriptor_, &status) != 0) {
      throw cannot_read(path_);
    }
    check_status(path_, status);
    size_ = status.st_size;
  } catch (...) {
    close(descriptor_);
    throw;
  }
}

File::~File() { close(descriptor_); }

std::string File::read(int64_t offset, int64_t count) const {
  std::string bytes(static_cast<size_t>(count), '\0');
  size_t filled = 0;
  while (filled < bytes.size()) {
    const ssize_t got = pread(descriptor_, bytes.data() + filled, bytes.size() - filled,
                              offset + static_cast<int64_t>(filled));
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got < 0) {
      throw cannot_read(path_);
    }
    if (got == 0) {
      break;
    }
    filled += static_cast<size_t>(got);
  }
  bytes.resize(filled);
  return bytes;
}

DataError File::error(const std::string& what) const {
  return DataError(fmt::format("{}: {}", path_, what));
}

std::string read_file(const File& file, int64_t max_bytes) {
  if (file.size() > max_bytes) {
    throw file.error(
        fmt::format("expected at most {} bytes, the file has {}", max_bytes, file.size()));
  }
  return file.read(0, file.size());
}

std::string read_file(const std::string& path, int64_t max_bytes) {
  return read_file(File(path), max_bytes);
}

}  // namespace unbraid
