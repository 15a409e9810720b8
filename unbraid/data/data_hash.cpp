#include "unbraid/data/data_hash.h"

#include <algorithm>
#include <cstdint>
#include <unordered_set>

#include <fmt/format.h>
#include <xxhash.h>

#include "unbraid/core/error.h"
#include "unbraid/core/stop.h"
#include "unbraid/media/file.h"

namespace unbraid {
namespace {

/// Of the file's size and middle.
uint64_t hash_of(const std::string& path) {
  constexpr int64_t kBytes = 4096;
  try {
    const File file(path);
    const std::string middle = file.read(std::max<int64_t>(0, (file.size() - kBytes) / 2), kBytes);
    return XXH3_64bits_withSeed(middle.data(), middle.size(), static_cast<uint64_t>(file.size()));
  } catch (const DataError&) {
    return 0;
  }
}

std::vector<std::string> some_files_of(const std::string& cell, const Decoder& decoder,
                                       const std::string& folder) {
  std::vector<std::string> all;
  try {
    all = decoder.files(decoder.resolve(cell, folder));
  } catch (const DataError&) {
    return {};
  }
  std::vector<std::string> some;
  for (size_t i = 0; i < all.size(); ++i) {
    if (i == 0 || i == all.size() / 2 || i + 1 == all.size()) {
      some.push_back(all[i]);
    }
  }
  return some;
}

}  // namespace

std::string difference_of_data(const DataHash& data, const DataHash& other) {
  if (data.manifest != other.manifest) {
    return fmt::format("manifests (hash {}, not {})", data.manifest, other.manifest);
  }
  for (const auto& [part, hash] : data.files) {
    if (const auto found = other.files.find(part);
        found != other.files.end() && found->second != hash) {
      return fmt::format("files of {} (hash {}, not {})", part, hash, found->second);
    }
  }
  return "";
}

std::string files_hash(const std::vector<std::string>& cells, const Decoder& decoder,
                       const std::string& folder) {
  std::unordered_set<std::string> seen;  // many cells may be rows of one table
  uint64_t hash = 0;
  for (const std::string& cell : cells) {
    throw_if_stopped();
    if (cell.empty()) {
      continue;
    }
    for (const std::string& path : some_files_of(cell, decoder, folder)) {
      if (seen.insert(path).second) {
        const uint64_t of_file = hash_of(path);
        hash = XXH3_64bits_withSeed(&of_file, sizeof of_file, hash);
      }
    }
  }
  return fmt::format("{:016x}", hash);
}

}  // namespace unbraid
