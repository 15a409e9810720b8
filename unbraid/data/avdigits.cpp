#include "unbraid/data/avdigits.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "unbraid/core/error.h"
#include "unbraid/core/random.h"
#include "unbraid/data/avdigits_audio.h"
#include "unbraid/data/avdigits_speech.h"
#include "unbraid/data/avdigits_visual.h"
#include "unbraid/data/manifest.h"
#include "unbraid/media/png_encoder.h"

namespace unbraid {
namespace {

namespace fs = std::filesystem;
using avdigits::Scribe;
using Progress = std::function<void(size_t done, size_t total)>;

constexpr int kGeneratorVersion = 1;  // raise it when the same options give other bytes
constexpr std::array kSplits = {Split::kTrain, Split::kVal, Split::kTest};
constexpr int64_t kFewestSamples = 10;
constexpr int64_t kMostSamples = 1'000'000;
constexpr double kMostDifficulty = 3.0;
constexpr int kMostThreads = 256;
constexpr size_t kChatterUtterances = 30;

void check(const AvDigitsOptions& options) {
  const auto within = [](const char* name, double value, double low, double high) {
    if (!(value >= low && value <= high)) {
      throw RecipeError(
          fmt::format("avdigits: {} must be from {} to {}, found {}", name, low, high, value));
    }
  };
  within("train", static_cast<double>(options.train), kFewestSamples, kMostSamples);
  within("val", static_cast<double>(options.val), kFewestSamples, kMostSamples);
  within("test", static_cast<double>(options.test), kFewestSamples, kMostSamples);
  within("difficulty", options.difficulty, 0, kMostDifficulty);
  within("threads", options.threads, 0, kMostThreads);
}

fs::path cache_folder(const AvDigitsOptions& options) {
  if (!options.cache.empty()) {
    return options.cache;
  }
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && cache[0] == '/') {  // the XDG specification ignores relative ones
    return fs::path(cache) / "unbraid";
  }
  const char* home = std::getenv("HOME");
  if (home != nullptr && home[0] != '\0') {
    return fs::path(home) / ".cache" / "unbraid";
  }
  throw StorageError("avdigits: no place for the data set: set HOME, XDG_CACHE_HOME or cache");
}

// One name for one content.
std::string folder_name(const AvDigitsOptions& options) {
  const std::string content =
      fmt::format("{} {} {} {} {} {}", kGeneratorVersion, options.seed, options.train, options.val,
                  options.test, options.difficulty);
  const uint64_t hash = RandomStream::of(0, 0, content, "avdigits").bits();
  return fmt::format("avdigits-{:012x}", hash >> 16);
}

// A folder of its own beside the finished sets, gone with everything in it at the end of the scope.
class Workshop {
 public:
  explicit Workshop(const fs::path& target) {
    std::error_code failure;
    fs::create_directories(target.parent_path(), failure);
    std::string name = target.string() + kMark + "XXXXXX";
    if (failure || ::mkdtemp(name.data()) == nullptr) {
      const int code = failure ? failure.value() : errno;
      throw StorageError(fmt::format("{}: cannot make a folder here for the data set avdigits: {}",
                                     target.parent_path().string(), std::strerror(code)));
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

// Runs `work(0)` to `work(count - 1)` on `threads` threads and calls `progress(done)` in this one.
// The first exception, of either, ends it all and is thrown on.
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

class Generator {
 public:
  Generator(const AvDigitsOptions& options, fs::path folder)
      : options_(options),
        folder_(std::move(folder)),
        threads_(options.threads > 0
                     ? options.threads
                     : std::max(1, static_cast<int>(std::min<unsigned>(
                                       std::thread::hardware_concurrency(), kMostThreads)))) {
    for (const Split split : kSplits) {
      scribes_.emplace_back(split, options.seed);
    }
  }

  void run(const Progress& progress) {
    for (const char* modality : {"audio", "visual"}) {
      std::error_code failure;
      if (fs::create_directories(folder_ / modality, failure); failure) {
        throw StorageError((folder_ / modality).string() + ": " + failure.message());
      }
    }
    size_t utterances = 0;
    for (size_t split = 0; split < kSplits.size(); ++split) {
      chatter_[split].resize(std::min(kChatterUtterances, samples_of(split)));
      utterances += samples_of(split);
    }
    for (size_t split = 0; split < kSplits.size(); ++split) {
      in_parallel(
          chatter_[split].size(), threads_, [&](size_t i) { say_chatter(split, i); },
          [&](size_t) { progress ? progress(0, utterances) : void(); });
    }
    in_parallel(
        utterances, threads_, [&](size_t i) { make_sample(i); },
        [&](size_t done) { progress ? progress(done, utterances) : void(); });
    write_manifest();
  }

 private:
  struct Key {
    size_t split;
    size_t index;
    std::string id;
    int digit;
  };

  [[nodiscard]] size_t samples_of(size_t split) const {
    const std::array counts = {options_.train, options_.val, options_.test};
    return static_cast<size_t>(counts.at(split));
  }

  [[nodiscard]] Key key_of(size_t sample) const {
    size_t split = 0;
    while (sample >= samples_of(split)) {
      sample -= samples_of(split++);
    }
    return {split, sample, fmt::format("{}-{:06}", name_of(kSplits[split]), sample),
            static_cast<int>(sample % 10)};
  }

  void say_chatter(size_t split, size_t index) {
    const std::string id = fmt::format("{}-chatter-{}", name_of(kSplits[split]), index);
    RandomStream random = RandomStream::of(options_.seed, 0, id, "voice");
    const auto voice = avdigits::draw_voice(kSplits[split], random);
    chatter_[split][index] = avdigits::speak(static_cast<int>(index % 10), voice);
  }

  void make_sample(size_t sample) const {
    const Key key = key_of(sample);
    const auto stream = [&](const char* purpose) {
      return RandomStream::of(options_.seed, 0, key.id, purpose);
    };
    RandomStream voice_random = stream("voice");
    const auto voice = avdigits::draw_voice(kSplits[key.split], voice_random);
    RandomStream audio_random = stream("audio");
    avdigits::write_wav((folder_ / audio_of(key)).string(),
                        avdigits::record(avdigits::speak(key.digit, voice), chatter_[key.split],
                                         options_.difficulty, audio_random));
    RandomStream visual_random = stream("visual");
    const auto pixels =
        avdigits::paint(key.digit, scribes_[key.split], options_.difficulty, visual_random);
    write_bytes(folder_ / visual_of(key),
                encode_png(avdigits::kImageSide, avdigits::kImageSide, 1, pixels));
  }

  static std::string audio_of(const Key& key) { return "audio/" + key.id + ".wav"; }
  static std::string visual_of(const Key& key) { return "visual/" + key.id + ".png"; }

  void write_manifest() const {
    std::string text = "id,split,label,audio,visual\n";
    const size_t count = samples_of(0) + samples_of(1) + samples_of(2);
    for (size_t sample = 0; sample < count; ++sample) {
      const Key key = key_of(sample);
      text += fmt::format("{},{},{},{},{}\n", key.id, name_of(kSplits[key.split]), key.digit,
                          audio_of(key), visual_of(key));
    }
    write_bytes(folder_ / "manifest.csv", text);
  }

  static void write_bytes(const fs::path& path, const std::string& content) {
    std::ofstream file(path, std::ios::binary);
    file << content;
    file.close();
    if (!file) {
      throw StorageError(path.string() + ": cannot write the whole file; is the disk full?");
    }
  }

  const AvDigitsOptions& options_;
  fs::path folder_;
  int threads_;
  std::vector<Scribe> scribes_;  // by split, as is
  std::array<std::vector<std::vector<float>>, kSplits.size()> chatter_;
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

std::string prepare_avdigits(const AvDigitsOptions& options, const Progress& progress) {
  check(options);
  const fs::path target = cache_folder(options) / folder_name(options);
  const fs::path manifest = target / "manifest.csv";
  std::error_code ignored;
  if (fs::exists(manifest, ignored)) {
    return manifest.string();
  }
  if (fs::exists(target, ignored) && !fs::exists(manifest, ignored)) {
    throw StorageError(target.string() +
                       ": expected a finished data set, found no manifest.csv; remove this folder");
  }
  const Workshop workshop(target);
  Workshop::clear_old(target);
  const fs::path draft = workshop.path() / "set";  // made with the user's own permissions
  Generator(options, draft).run(progress);
  flush(draft);

  std::error_code failure;
  fs::rename(draft, target, failure);
  if (failure && !fs::exists(manifest, ignored)) {  // else another process was faster
    throw StorageError(target.string() + ": cannot put the data set here: " + failure.message());
  }
  return manifest.string();
}

}  // namespace unbraid
