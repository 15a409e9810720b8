#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <string>

namespace unbraid {

/// A data set that the program generates itself.
struct GeneratedSet {
  std::string name;     // of it and of its folder
  std::string content;  // a text that differs wherever what is generated does
  std::string cache;    // the folder that keeps sets; "" = $XDG_CACHE_HOME/unbraid or
                        // ~/.cache/unbraid
};

/// The path of the set's `manifest.csv`, after `generate` has written it and what it names into
/// `folder`, unless the cache has the whole set. Several processes may call it at once; one that
/// fails or is killed leaves no half of a set. Throws StorageError when the cache cannot be
/// written.
std::string generate_once(const GeneratedSet& set,
                          const std::function<void(const std::filesystem::path& folder)>& generate);

/// One for each core.
int generating_threads();

/// Runs `work(0)` to `work(count - 1)` on `threads` threads and calls `progress(done)` in this one.
/// The first exception, of either, ends it all and is thrown on.
void in_parallel(size_t count, int threads, const std::function<void(size_t)>& work,
                 const std::function<void(size_t)>& progress);

/// Writes a whole file or throws StorageError.
void write_generated(const std::filesystem::path& path, const std::string& content);

}  // namespace unbraid
