#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>

#include "unbraid/core/error.h"

namespace unbraid::fuzz {

/// A file in memory that holds the bytes of a fuzzer.
class FuzzFile {
 public:
  FuzzFile(const uint8_t* data, size_t size) : descriptor_(memfd_create("fuzz", MFD_CLOEXEC)) {
    if (descriptor_ < 0 || write(descriptor_, data, size) != static_cast<ssize_t>(size)) {
      std::abort();
    }
  }
  ~FuzzFile() { close(descriptor_); }
  FuzzFile(const FuzzFile&) = delete;
  FuzzFile& operator=(const FuzzFile&) = delete;

  [[nodiscard]] std::string path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

 private:
  int descriptor_;
};

/// Runs `read` on the bytes as a file; an Error is what it may answer with, anything else is a
/// finding.
template <typename Read>
int expect_error_at_most(const uint8_t* data, size_t size, const Read& read) {
  const FuzzFile file(data, size);
  try {
    read(file.path());
  } catch (const Error&) {
    return 0;
  }
  return 0;
}

}  // namespace unbraid::fuzz
