#include "unbraid/training/checkpoint_directory.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <tuple>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>
#include <nlohmann/json.hpp>

#include "unbraid/core/durable_file.h"
#include "unbraid/core/error.h"

namespace unbraid {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr std::string_view kManifest = "MANIFEST";
constexpr uint64_t kMaxManifest = uint64_t{1} << 20;
constexpr int kFormat = 1;

[[noreturn]] void fail(const fs::path& path, std::string_view action,
                       const std::error_code& error) {
  throw StorageError(fmt::format("{}: cannot {}: {}", path.string(), action, error.message()));
}

std::error_code last_error() { return {errno, std::generic_category()}; }

void create_folders(const fs::path& folder) {
  if (fs::exists(folder)) {
    return;
  }
  create_folders(folder_of(folder));
  std::error_code error;
  fs::create_directory(folder, error);
  if (error) {
    fail(folder, "create", error);
  }
  sync_path(folder_of(folder));
}

std::string checksum(const InputFile& file) {
  const std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)> state(XXH3_createState(),
                                                                              XXH3_freeState);
  XXH3_64bits_reset(state.get());
  std::vector<char> buffer(size_t{1} << 20);
  for (uint64_t position = 0; position < file.size();) {
    const uint64_t count = std::min<uint64_t>(buffer.size(), file.size() - position);
    file.read(position, buffer.data(), count);
    XXH3_64bits_update(state.get(), buffer.data(), count);
    position += count;
  }
  return fmt::format("{:016x}", XXH3_64bits_digest(state.get()));
}

// Lists and syncs what the caller wrote.
Json seal_files(const fs::path& directory) {
  Json files = Json::object();
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(directory)) {
    if (entry.is_regular_file() && !entry.is_symlink()) {
      const InputFile file(entry.path().string());
      files[entry.path().lexically_relative(directory).generic_string()] = {
          {"size", file.size()}, {"xxh3_64", checksum(file)}};
    } else if (!entry.is_directory() || entry.is_symlink()) {
      throw StorageError(fmt::format("{}: expected a regular file or a directory in a checkpoint",
                                     entry.path().string()));
    }
    sync_path(entry.path());
  }
  return files;
}

std::string manifest_text(const fs::path& directory) {
  const Json manifest = {{"format", kFormat}, {"files", seal_files(directory)}};
  try {
    return manifest.dump(1) + "\n";
  } catch (const Json::type_error&) {
    throw StorageError(
        fmt::format("{}: a file name in a checkpoint is not UTF-8", directory.string()));
  }
}

bool exchange(const fs::path& left, const fs::path& right) {
  return ::renameat2(AT_FDCWD, left.c_str(), AT_FDCWD, right.c_str(), RENAME_EXCHANGE) == 0;
}

void rename_or_fail(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) {
    fail(to, "replace", last_error());
  }
}

fs::path old_name(const fs::path& target) {
  fs::path old = target;
  old += ".old";
  return old;
}

bool is_valid(const fs::path& directory) {
  try {
    verify_directory(directory);
    return true;
  } catch (const StorageError&) {
    return false;
  }
}

// Without RENAME_EXCHANGE. Of `target` and its ".old" one stays valid until the new one is there.
void replace_in_two_steps(const fs::path& staging, const fs::path& target) {
  const fs::path old = old_name(target);
  if (fs::exists(old) && !is_valid(target)) {
    fs::remove_all(target);
  } else {
    fs::remove_all(old);
    rename_or_fail(target, old);
  }
  if (::rename(staging.c_str(), target.c_str()) != 0) {
    const std::error_code error = last_error();
    [[maybe_unused]] const int restored = ::rename(old.c_str(), target.c_str());
    fail(target, "replace", error);
  }
}

void put_in_place(const fs::path& staging, const fs::path& target) {
  if (!fs::exists(target)) {
    rename_or_fail(staging, target);
  } else if (!exchange(staging, target)) {
    if (errno != ENOSYS && errno != EINVAL && errno != ENOTSUP) {
      fail(target, "replace", last_error());
    }
    replace_in_two_steps(staging, target);
  }
  sync_path(folder_of(target));
}

Json read_manifest(const fs::path& path) {
  Json manifest =
      Json::parse(read_whole_file(path, kMaxManifest), nullptr, /*allow_exceptions=*/false);
  const auto format = manifest.is_object() ? manifest.find("format") : manifest.end();
  const auto files = manifest.is_object() ? manifest.find("files") : manifest.end();
  if (format == manifest.end() || *format != kFormat || files == manifest.end() ||
      !files->is_object()) {
    throw StorageError(fmt::format("{}: damaged, or not the manifest of a checkpoint of format {}",
                                   path.string(), kFormat));
  }
  return *files;
}

bool is_name_inside(const std::string& name) {
  const fs::path path(name);
  return !path.empty() && path.is_relative() && path.lexically_normal().string() == name &&
         *path.begin() != "." && *path.begin() != ".." &&
         std::none_of(name.begin(), name.end(),
                      [](unsigned char c) { return c < ' ' || c == 127; });
}

void verify_file(const fs::path& directory, const std::string& name, const Json& expected) {
  const auto size = expected.is_object() ? expected.find("size") : expected.end();
  const auto sum = expected.is_object() ? expected.find("xxh3_64") : expected.end();
  if (!is_name_inside(name) || size == expected.end() || !size->is_number_unsigned() ||
      sum == expected.end() || !sum->is_string()) {
    throw StorageError(fmt::format("{}: damaged: bad entry {}", (directory / kManifest).string(),
                                   Json(name).dump(-1, ' ', true)));
  }
  const fs::path path = directory / name;
  if (!fs::exists(path)) {
    throw StorageError(fmt::format("{}: missing from the checkpoint", path.string()));
  }
  const InputFile file(path.string());
  if (file.size() != size->get<uint64_t>()) {
    throw StorageError(fmt::format("{}: damaged: expected {} bytes, found {}", path.string(),
                                   size->get<uint64_t>(), file.size()));
  }
  const std::string found = checksum(file);
  if (found != sum->get<std::string>()) {
    throw StorageError(fmt::format("{}: damaged: expected checksum {}, found {}", path.string(),
                                   sum->get<std::string>(), found));
  }
}

// Removes what is left of a staging directory, whatever happens.
class StagingDirectory {
 public:
  explicit StagingDirectory(const fs::path& target) : path_(prepare_staging(target)) {
    fs::remove_all(path_);
    fs::create_directory(path_);
  }
  ~StagingDirectory() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  StagingDirectory(const StagingDirectory&) = delete;
  StagingDirectory& operator=(const StagingDirectory&) = delete;

  [[nodiscard]] const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

void write_unguarded(const fs::path& target, const std::function<void(const fs::path&)>& fill) {
  create_folders(folder_of(target));
  if (fs::exists(target) && !fs::is_directory(target)) {
    throw StorageError(
        fmt::format("{}: cannot be replaced: expected a directory, found a file", target.string()));
  }
  const StagingDirectory staging(target);
  fill(staging.path());
  write_file_durably(staging.path() / kManifest, manifest_text(staging.path()));
  put_in_place(staging.path(), target);
  std::error_code ignored;
  fs::remove_all(old_name(target), ignored);
}

// `message` with the name of `target` where it has that of the staging directory, which no user
// gave.
std::string without_staging(std::string message, const fs::path& target) {
  const std::string staging = fmt::format("{}.tmp.{}", target.string(), ::getpid());
  if (const size_t place = message.find(staging); place != std::string::npos) {
    message.replace(place, staging.size(), target.string());
  }
  return message;
}

// Tells one directory of this name from the next.
auto identity_of(const fs::path& path) {
  struct stat status {};
  ::stat(path.c_str(), &status);
  return std::tuple(status.st_ino, status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
}

}  // namespace

void write_directory_atomically(const fs::path& target,
                                const std::function<void(const fs::path&)>& fill) {
  const fs::path place = resolved_target(target);
  try {
    write_unguarded(place, fill);
  } catch (const fs::filesystem_error& error) {
    fail(without_staging(error.path1().string(), place), "write", error.code());
  } catch (const StorageError& error) {
    throw StorageError(without_staging(error.what(), place));
  }
}

void verify_directory(const fs::path& target) {
  try {
    const Json files = read_manifest(target / kManifest);
    for (const auto& [name, expected] : files.items()) {
      verify_file(target, name, expected);
    }
  } catch (const fs::filesystem_error& error) {
    fail(error.path1(), "read", error.code());
  }
}

bool was_ever_written(const fs::path& target) {
  std::error_code failure;
  return fs::exists(target, failure) || fs::exists(old_name(target), failure);
}

fs::path find_valid_directory(const fs::path& target) {
  constexpr int kAttempts = 10;
  for (int attempt = 1;; ++attempt) {
    const auto before = identity_of(target);
    try {
      verify_directory(target);
      return target;
    } catch (const StorageError&) {
      if (is_valid(old_name(target))) {
        return old_name(target);
      }
      if (identity_of(target) == before || attempt == kAttempts) {
        throw;
      }
      // It was replaced under our eyes: look at the new one.
    }
  }
}

}  // namespace unbraid
