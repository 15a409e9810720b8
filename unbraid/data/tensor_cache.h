#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "unbraid/core/torch.h"

namespace unbraid {

/// Tensors on disk by a text that names them, in memory-mapped files that several processes may
/// fill and read at once. What a process was writing when it was killed, and what was damaged
/// since, reads as absent. Thread-safe.
///
/// A file is a sequence of records: a header (magic, hash of the name, type, shape, size,
/// checksum), then the values, each part aligned to 64 bytes. A process appends to files of its own
/// alone, the header after the values.
class TensorCache {
 public:
  /// Makes `folder` where it is missing, and reads the headers of what is there. Nothing is added
  /// that would make the folder larger than `max_bytes`, and nothing at all to one that may be read
  /// but not written. Files are as others may read them by the umask. Throws StorageError.
  TensorCache(const std::filesystem::path& folder, int64_t max_bytes);
  ~TensorCache();
  TensorCache(const TensorCache&) = delete;
  TensorCache& operator=(const TensorCache&) = delete;

  /// The tensor stored under `name`: a view of the file, which must not be written to.
  [[nodiscard]] std::optional<torch::Tensor> find(const std::string& name);
  /// Keeps `tensor`, uint8 or float on the CPU with at most 6 dimensions; one that does not fit any
  /// more, or that the disk does not take, is left out.
  void store(const std::string& name, const torch::Tensor& tensor);

  struct Counts {
    size_t found = 0;
    size_t stored = 0;
    int64_t bytes = 0;       // of the folder
    bool full = false;       // something was left out
    bool read_only = false;  // its folder cannot be written
    size_t unreadable = 0;   // files that were there and cannot be opened
  };
  [[nodiscard]] Counts counts() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace unbraid
