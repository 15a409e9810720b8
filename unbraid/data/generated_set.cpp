#include "unbraid/data/generated_set.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <fstream>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "unbraid/core/error.h"
#include "unbraid/core/random.h"

namespace unbraid {
namespace {

namespace fs = std::filesystem;

constexpr std::array kSplits = {Split::kTrain, Split::kVal, Split::kTest};
constexpr int64_t kFewestSamples = 10;
constexpr int64_t kMostSamples = 1'000'000;
constexpr int kMostThreads = 256;

// A folder of its own beside the finished sets, gone with everything in it at the end of the scope.
class Workshop {
 public:
  Workshop(const std::string& name_of_set, const fs::path& target) {
    std::error_code failure;
    fs::create_directories(target.parent_path(), failure);
    std::string name = target.string() + kMark + "XXXXXX";
    if (failure || ::mkdtemp(name.data()) == nullptr) {
      const int code = failure ? failure.value() : errno;
      throw StorageError(fmt::format("{}: cannot make a folder here for the data set {}: {}",
                                     target.parent_path().string(), name_of_set,
                                     std::strerror(code)));
    }
    path_ = name;
  }
  ~Workshop() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Workshop(const Workshop&) = delete;
  Workshop& operator=(const Workshop&) = delete;

  [[nodiscard]] const fs::path& path() const { return path_; }

  // What killed processes left beside `target` more than a day ago.
  static void clear_old(const fs::path& target) {
    const std::string prefix = target.filename().string() + kMark;
    std::vector<fs::path> old;
    std::error_code ignored;
    for (fs::directory_iterator entry(target.parent_path(), ignored), end; entry != end;
         entry.increment(ignored)) {
      const auto written = fs::last_write_time(entry->path(), ignored);
      if (entry->path().filename().string().rfind(prefix, 0) == 0 && !ignored &&
          fs::file_time_type::clock::now() - written > std::chrono::hours(24)) {
        old.push_back(entry->path());
      }
    }
    for (const fs::path& path : old) {
      fs::remove_all(path, ignored);
    }
  }

 private:
  static constexpr const char* kMark = ".tmp-";
  fs::path path_;
};

// After a power cut the renamed folder must not hold empty files.
void flush(const fs::path& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool flushed = fd >= 0 && ::syncfs(fd) == 0;
  const int code = errno;
  if (fd >= 0) {
    ::close(fd);
  }
  if (!flushed) {
    throw StorageError(folder.string() + ": cannot flush to disk: " + std::strerror(code));
  }
}

}  // namespace

GeneratedSet::GeneratedSet(std::string name, const GeneratedSetOptions& options)
    : name_(std::move(name)), options_(options) {
  check_option("train", static_cast<double>(options_.train), kFewestSamples, kMostSamples);
  check_option("val", static_cast<double>(options_.val), kFewestSamples, kMostSamples);
  check_option("test", static_cast<double>(options_.test), kFewestSamples, kMostSamples);
  check_option("threads", options_.threads, 0, kMostThreads);
}

void GeneratedSet::check_option(const char* key, double value, double low, double high) const {
  if (!(value >= low && value <= high)) {
    throw RecipeError(
        fmt::format("{}: {} must be from {} to {}, found {}", name_, key, low, high, value));
  }
}

fs::path GeneratedSet::cache_folder() const {
  if (!options_.cache.empty()) {
    return options_.cache;
  }
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && cache[0] == '/') {  // the XDG specification ignores relative ones
    return fs::path(cache) / "unbraid";
  }
  const char* home = std::getenv("HOME");
  if (home != nullptr && home[0] != '\0') {
    return fs::path(home) / ".cache" / "unbraid";
  }
  throw StorageError(name_ + ": no place for the data set: set HOME, XDG_CACHE_HOME or cache");
}

std::string GeneratedSet::once(const std::string& content, const std::string& manifest,
                               const std::function<void(const fs::path& folder)>& generate) const {
  const uint64_t hash = RandomStream::of(0, 0, content, name_).bits();
  const fs::path target = cache_folder() / fmt::format("{}-{:012x}", name_, hash >> 16);
  const fs::path wanted = target / manifest;
  std::error_code ignored;
  if (fs::exists(wanted, ignored)) {
    return wanted.string();
  }
  if (fs::exists(target, ignored) && !fs::exists(wanted, ignored)) {
    throw StorageError(
        fmt::format("{}: expected a finished data set, found no {}; remove this folder",
                    target.string(), manifest));
  }
  const Workshop workshop(name_, target);
  Workshop::clear_old(target);
  const fs::path draft = workshop.path() / "set";  // made with the user's own permissions
  std::error_code failure;
  if (fs::create_directory(draft, failure); failure) {
    throw StorageError(draft.string() + ": " + failure.message());
  }
  generate(draft);
  flush(draft);

  fs::rename(draft, target, failure);
  if (failure && !fs::exists(wanted, ignored)) {  // else another process was faster
    throw StorageError(target.string() + ": cannot put the data set here: " + failure.message());
  }
  return wanted.string();
}

size_t GeneratedSet::size(Split split) const {
  const std::array counts = {options_.train, options_.val, options_.test};
  return static_cast<size_t>(counts.at(static_cast<size_t>(split)));
}

size_t GeneratedSet::size() const {
  return size(Split::kTrain) + size(Split::kVal) + size(Split::kTest);
}

GeneratedSet::Sample GeneratedSet::sample(size_t number) const {
  auto split = kSplits.begin();
  while (number >= size(*split)) {
    number -= size(*split++);
  }
  return {*split, number, fmt::format("{}-{:06}", name_of(*split), number)};
}

void GeneratedSet::in_parallel(size_t count, const std::function<void(size_t)>& work,
                               const std::function<void(size_t)>& progress) const {
  std::mutex mutex;
  std::condition_variable changed;
  size_t done = 0;
  const int threads = options_.threads > 0
                          ? options_.threads
                          : std::max(1, static_cast<int>(std::min<unsigned>(
                                            std::thread::hardware_concurrency(), kMostThreads)));
  int running = threads;
  std::exception_ptr failure;
  std::atomic<size_t> next = 0;

  const auto run = [&] {
    std::exception_ptr caught;
    try {
      for (size_t i = next++; i < count; i = next++) {
        work(i);
        const std::lock_guard lock(mutex);
        ++done;
        changed.notify_one();
      }
    } catch (...) {
      caught = std::current_exception();
      next = count;
    }
    const std::lock_guard lock(mutex);
    failure = failure ? failure : caught;
    --running;
    changed.notify_one();
  };

  std::vector<std::jthread> pool;
  pool.reserve(static_cast<size_t>(threads));
  try {
    for (int i = 0; i < threads; ++i) {
      pool.emplace_back(run);
    }
    std::unique_lock lock(mutex);
    for (size_t told = 0; running > 0 || told < done;) {
      changed.wait(lock, [&] { return running == 0 || told < done; });
      if (told < done) {
        told = done;
        lock.unlock();
        progress(told);
        lock.lock();
      }
    }
  } catch (...) {
    next = count;
    throw;
  }
  if (failure) {
    std::rethrow_exception(failure);
  }
}

void GeneratedSet::write(const fs::path& path, const std::string& content) {
  std::ofstream file(path, std::ios::binary);
  file << content;
  file.close();
  if (!file) {
    throw StorageError(path.string() + ": cannot write the whole file; is the disk full?");
  }
}

}  // namespace unbraid
