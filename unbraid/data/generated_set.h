#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "unbraid/data/manifest.h"

namespace unbraid {

/// What every embedded data set is asked for: one that is generated where it is used.
struct GeneratedSetOptions {
  uint64_t seed = 0;
  int64_t train = 2400;  // samples of each split, 10 to 1 000 000
  int64_t val = 600;
  int64_t test = 1000;
  /// The folder that keeps generated sets; "" = $XDG_CACHE_HOME/unbraid or ~/.cache/unbraid.
  std::string cache;
  /// Threads that generate; 0 = one per core. What they write does not depend on it.
  int threads = 0;
};

/// Called in the thread that generates; when it throws, generation stops and leaves nothing behind.
using GenerationProgress = std::function<void(size_t done, size_t total)>;

/// A generated data set in the making: what its generator needs beside the samples' own content.
class GeneratedSet {
 public:
  /// `name` of the set, for its folder and for errors. Throws RecipeError for an option out of
  /// range.
  GeneratedSet(std::string name, const GeneratedSetOptions& options);

  /// RecipeError unless the option `key` is from `low` to `high`.
  void check_option(const char* key, double value, double low, double high) const;

  /// Calls `generate` with an empty folder to fill, unless the set is there already, puts that
  /// folder in its place as a whole and returns the path of the set's `manifest`. `content` says
  /// what decides the set's bytes: each has a folder of its own. Several processes may call it at
  /// once; whatever happens, a folder that has the set's name is finished. Throws StorageError when
  /// the cache cannot be written.
  [[nodiscard]] std::string once(
      const std::string& content, const std::string& manifest,
      const std::function<void(const std::filesystem::path& folder)>& generate) const;

  struct Sample {
    Split split = Split::kTrain;
    size_t index = 0;  // within its split
    std::string id;    // "train-000017"
  };
  /// Of all splits, those of train first.
  [[nodiscard]] size_t size() const;
  [[nodiscard]] size_t size(Split split) const;
  [[nodiscard]] Sample sample(size_t number) const;

  /// Runs `work(0)` to `work(count - 1)` on the threads that the options say and calls
  /// `progress(done)` in this one. The first exception, of either, ends it all and is thrown on.
  void in_parallel(size_t count, const std::function<void(size_t)>& work,
                   const std::function<void(size_t)>& progress) const;

  /// Throws StorageError unless the whole file could be written.
  static void write(const std::filesystem::path& path, const std::string& content);

 private:
  [[nodiscard]] std::filesystem::path cache_folder() const;

  std::string name_;
  GeneratedSetOptions options_;
};

}  // namespace unbraid
