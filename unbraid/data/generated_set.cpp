#include "unbraid/data/generated_set.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "unbraid/core/error.h"
#include "unbraid/core/random.h"

namespace unbraid {
namespace {

namespace fs = std::filesystem;

constexpr unsigned kMostThreads = 256;

fs::path cache_folder(const GeneratedSet& set) {
  if (!set.cache.empty()) {
    return set.cache;
  }
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && cache[0] == '/') {  // the XDG specification ignores relative ones
    return fs::path(cache) / "unbraid";
  }
  const char* home = std::getenv("HOME");
  if (home != nullptr && home[0] != '\0') {
    return fs::path(home) / ".cache" / "unbraid";
  }
  throw StorageError(set.name + ": no place for the data set: set HOME, XDG_CACHE_HOME or cache");
}

// One name for one content.
std::string folder_name(const GeneratedSet& set) {
  const uint64_t hash = RandomStream::of(0, 0, set.content, set.name).bits();
  return fmt::format("{}-{:012x}", set.name, hash >> 16);
}

// A folder of its own beside the finished sets, gone with everything in it at the end of the scope.
class Workshop {
 public:
  Workshop(const fs::path& target, const std::string& set) {
    std::error_code failure;
    fs::create_directories(target.parent_path(), failure);
    std::string name = target.string() + kMark + "XXXXXX";
    if (failure || ::mkdtemp(name.data()) == nullptr) {
      const int code = failure ? failure.value() : errno;
      throw StorageError(fmt::format("{}: cannot make a folder here for the data set {}: {}",
                                     target.parent_path().string(), set, std::strerror(code)));
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

std::string generate_once(const GeneratedSet& set,
                          const std::function<void(const fs::path& folder)>& generate) {
  const fs::path target = cache_folder(set) / folder_name(set);
  const fs::path manifest = target / "manifest.csv";
  std::error_code ignored;
  if (fs::exists(manifest, ignored)) {
    return manifest.string();
  }
  if (fs::exists(target, ignored) && !fs::exists(manifest, ignored)) {
    throw StorageError(target.string() +
                       ": expected a finished data set, found no manifest.csv; remove this folder");
  }
  const Workshop workshop(target, set.name);
  Workshop::clear_old(target);
  const fs::path draft = workshop.path() / "set";  // made with the user's own permissions
  generate(draft);
  flush(draft);

  std::error_code failure;
  fs::rename(draft, target, failure);
  if (failure && !fs::exists(manifest, ignored)) {  // else another process was faster
    throw StorageError(target.string() + ": cannot put the data set here: " + failure.message());
  }
  return manifest.string();
}

int generating_threads() {
  return static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1U, kMostThreads));
}

void in_parallel(size_t count, int threads, const std::function<void(size_t)>& work,
                 const std::function<void(size_t)>& progress) {
  std::mutex mutex;
  std::condition_variable changed;
  size_t done = 0;
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
      told = done;
      lock.unlock();
      progress(told);
      lock.lock();
    }
  } catch (...) {
    next = count;
    throw;
  }
  if (failure) {
    std::rethrow_exception(failure);
  }
}

void write_generated(const fs::path& path, const std::string& content) {
  std::ofstream file(path, std::ios::binary);
  file << content;
  file.close();
  if (!file) {
    throw StorageError(path.string() + ": cannot write the whole file; is the disk full?");
  }
}

}  // namespace unbraid
