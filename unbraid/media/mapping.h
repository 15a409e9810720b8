#pragma once

#include <sys/mman.h>

#include <cstdint>

namespace unbraid {

/// The first `size` bytes of an open file, mapped for reading; `data` is null when there is
/// nothing to map or the system does not do it. Reading what another process has cut off meanwhile
/// is a SIGBUS.
class Mapping {
 public:
  Mapping(int descriptor, int64_t size)
      : address_(mmap(nullptr, static_cast<size_t>(size), PROT_READ, MAP_SHARED, descriptor, 0)),
        size_(size) {}
  ~Mapping() {
    if (address_ != MAP_FAILED) {
      munmap(address_, static_cast<size_t>(size_));
    }
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  [[nodiscard]] const char* data() const {
    return address_ == MAP_FAILED ? nullptr : static_cast<const char*>(address_);
  }
  [[nodiscard]] int64_t size() const { return data() == nullptr ? 0 : size_; }

 private:
  void* address_;
  int64_t size_;
};

}  // namespace unbraid
