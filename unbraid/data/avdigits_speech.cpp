#include "unbraid/data/avdigits_speech.h"

#include <fcntl.h>
#include <poll.h>
#include <soxr.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstring>
#include <optional>
#include <string_view>
#include <thread>

#include "unbraid/core/durable_file.h"
#include "unbraid/core/error.h"

namespace unbraid::avdigits {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::array<const char*, 10> kWords = {"zero", "one", "two",   "three", "four",
                                                "five", "six", "seven", "eight", "nine"};
constexpr std::array<const char*, 7> kAccents = {
    "en-gb", "en-us", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029"};
constexpr size_t kMostBytes = size_t{4} << 20;  // a digit takes about 40 KiB

struct Recording {
  double rate = 0;  // Hz
  std::vector<float> samples;
};

// A running espeak-ng; killed and reaped when it goes out of scope.
class Child {
 public:
  Child(const std::vector<std::string>& arguments, int output) {
    std::vector<char*> argv;
    argv.reserve(arguments.size() + 1);
    for (const std::string& argument : arguments) {
      argv.push_back(const_cast<char*>(argument.c_str()));
    }
    argv.push_back(nullptr);

    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, output, STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);

    // Its own process group: Ctrl-C is for the caller, who stops it in order.
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    sigset_t signals;
    sigemptyset(&signals);
    posix_spawnattr_setsigmask(&attributes, &signals);
    sigaddset(&signals, SIGPIPE);
    posix_spawnattr_setsigdefault(&attributes, &signals);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(
        &attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);

    const int failure = posix_spawnp(&pid_, argv[0], &files, &attributes, argv.data(), environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    if (failure != 0) {
      pid_ = -1;
      throw DataError("avdigits: cannot run espeak-ng (" + std::string(std::strerror(failure)) +
                      "); install the Debian package espeak-ng");
    }
  }
  ~Child() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  // The wait status, or nothing when it still runs at `deadline`.
  std::optional<int> wait_until(Clock::time_point deadline) {
    int status = 0;
    while (::waitpid(pid_, &status, WNOHANG) == 0) {
      if (Clock::now() >= deadline) {
        return std::nullopt;
      }
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
    pid_ = -1;
    return status;
  }

 private:
  pid_t pid_ = -1;
};

// Everything that `fd` gives until its end; nothing when that is too much or comes too late.
std::optional<std::vector<unsigned char>> read_all(int fd, Clock::time_point deadline) {
  std::vector<unsigned char> bytes;
  std::array<unsigned char, 65536> chunk;
  while (bytes.size() < kMostBytes) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    pollfd waiting{.fd = fd, .events = POLLIN, .revents = 0};
    const int ready = ::poll(&waiting, 1, static_cast<int>(std::max<int64_t>(left, 0)));
    if (ready == 0) {
      return std::nullopt;
    }
    const ssize_t count = ready < 0 ? -1 : ::read(fd, chunk.data(), chunk.size());
    if (count == 0) {
      return bytes;
    }
    if (count < 0 && errno != EINTR) {
      return std::nullopt;
    }
    bytes.insert(bytes.end(), chunk.begin(), chunk.begin() + std::max<ssize_t>(count, 0));
  }
  return std::nullopt;
}

uint32_t little_endian(const unsigned char* bytes, int count) {
  uint32_t value = 0;
  for (int i = count - 1; i >= 0; --i) {
    value = value << 8 | bytes[i];
  }
  return value;
}

// Mono 16-bit PCM. A WAV file written to a pipe does not know its length, so that the sizes in the
// header of `data` mean nothing: the samples go on to the end.
std::optional<Recording> parse_wav(const std::vector<unsigned char>& bytes) {
  const auto tag_at = [&](size_t offset, std::string_view tag) {
    return std::memcmp(bytes.data() + offset, tag.data(), tag.size()) == 0;
  };
  if (bytes.size() < 12 || !tag_at(0, "RIFF") || !tag_at(8, "WAVE")) {
    return std::nullopt;
  }
  Recording recording;
  for (size_t at = 12; at + 8 <= bytes.size();) {
    const size_t body = at + 8;
    const size_t size = little_endian(&bytes[at + 4], 4);
    if (tag_at(at, "fmt ") && size >= 16 && bytes.size() - body >= 16) {
      const bool pcm16_mono = little_endian(&bytes[body], 2) == 1 &&
                              little_endian(&bytes[body + 2], 2) == 1 &&
                              little_endian(&bytes[body + 14], 2) == 16;
      recording.rate = pcm16_mono ? little_endian(&bytes[body + 4], 4) : 0;
    }
    if (tag_at(at, "data")) {
      for (size_t i = body; i + 2 <= bytes.size(); i += 2) {
        const auto sample = static_cast<int16_t>(little_endian(&bytes[i], 2));
        recording.samples.push_back(static_cast<float>(sample) / 32768.0F);
      }
      const bool plausible = recording.rate >= kSampleRate && recording.rate <= 192000;
      return plausible ? std::optional(std::move(recording)) : std::nullopt;
    }
    at = body + size + size % 2;
  }
  return std::nullopt;
}

std::vector<float> resample(const Recording& recording) {
  const double ratio = kSampleRate / recording.rate;
  std::vector<float> result(
      static_cast<size_t>(std::ceil(static_cast<double>(recording.samples.size()) * ratio)));
  size_t written = 0;
  const soxr_error_t failure = soxr_oneshot(
      recording.rate, kSampleRate, 1, recording.samples.data(), recording.samples.size(), nullptr,
      result.data(), result.size(), &written, nullptr, nullptr, nullptr);
  if (failure != nullptr) {
    throw DataError("avdigits: cannot resample speech: " + std::string(soxr_strerror(failure)));
  }
  result.resize(written);
  return result;
}

// Cuts what is 40 dB below the peak off both ends and scales the rest to unit root mean square.
std::vector<float> trimmed(const std::vector<float>& samples) {
  float peak = 0;
  for (const float sample : samples) {
    peak = std::max(peak, std::abs(sample));
  }
  const auto audible = [&](float sample) { return std::abs(sample) > 0.01F * peak; };
  const auto first = std::find_if(samples.begin(), samples.end(), audible);
  const auto last = std::find_if(samples.rbegin(), samples.rend(), audible).base();
  if (first >= last) {
    return {};
  }
  std::vector<float> result(first, last);
  double energy = 0;
  for (const float sample : result) {
    energy += static_cast<double>(sample) * sample;
  }
  const double gain = 1.0 / std::sqrt(energy / static_cast<double>(result.size()));
  for (float& sample : result) {
    sample = static_cast<float>(sample * gain);
  }
  return result;
}

}  // namespace

const std::vector<std::string>& speakers(Split split) {
  // Some of espeak-ng's variants differ in name only (adam, caleb and klatt, for one); of such
  // groups one is here, or all in one split.
  static const std::vector<std::string> kTrain = {
      "m1",    "m2",      "m4",     "m5",      "m8",      "f1",       "f3",    "f5",
      "Alex",  "Alicia",  "Andrea", "Annie",   "Gene",    "Henrique", "Jacky", "Lee",
      "Mario", "Michael", "Mike",   "Nguyen",  "adam",    "anika",    "aunty", "belinda",
      "boris", "david",   "ed",     "edward",  "grandma", "iven",     "john",  "klatt2",
      "linda", "marcelo", "max",    "norbert", "paul",    "quincy",   "rob",   "zac"};
  static const std::vector<std::string> kVal = {"m3",      "f4",      "Denis",  "Marco", "Storm",
                                                "antonio", "gustave", "miguel", "steph", "croak"};
  static const std::vector<std::string> kTest = {
      "m6",    "f2",    "Andy",   "Diogo",  "announcer", "grandpa", "kaukovalta",
      "pablo", "pedro", "robert", "sandro", "shelby",    "travis",  "whisper"};
  switch (split) {
    case Split::kTrain:
      return kTrain;
    case Split::kVal:
      return kVal;
    default:
      return kTest;
  }
}

Voice draw_voice(Split split, RandomStream& random) {
  const std::vector<std::string>& names = speakers(split);
  Voice voice;
  voice.name = kAccents.at(random.below(kAccents.size()));
  voice.name += "+" + names[random.below(names.size())];
  voice.pitch = 30 + static_cast<int>(random.below(41));
  voice.words_per_minute = 140 + static_cast<int>(random.below(61));
  return voice;
}

std::vector<float> speak(int digit, const Voice& voice, std::chrono::milliseconds patience) {
  const std::string word = kWords.at(static_cast<size_t>(digit));
  const std::string what = "avdigits: espeak-ng -v " + voice.name + " " + word;
  const Clock::time_point deadline = Clock::now() + patience;

  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    throw DataError(what + ": cannot make a pipe: " + std::strerror(errno));
  }
  const FileDescriptor input(ends[0]);
  FileDescriptor output(ends[1]);
  Child child({"espeak-ng", "-v", voice.name, "-p", std::to_string(voice.pitch), "-s",
               std::to_string(voice.words_per_minute), "-z", "--stdout", word},
              output.get());
  output.close();

  const auto bytes = read_all(input.get(), deadline);
  if (!bytes) {
    throw DataError(what + ": no speech within " + std::to_string(patience.count()) + " ms");
  }
  const std::optional<int> status = child.wait_until(deadline);
  if (!status || *status != 0) {
    throw DataError(what + ": failed" + (status ? ", wait status " + std::to_string(*status) : ""));
  }
  const std::optional<Recording> recording = parse_wav(*bytes);
  if (!recording) {
    throw DataError(what + ": expected a mono 16-bit WAV, found " + std::to_string(bytes->size()) +
                    " other bytes; is the Debian package espeak-ng-data complete?");
  }
  std::vector<float> samples = trimmed(resample(*recording));
  if (samples.empty()) {
    throw DataError(what + ": expected speech, found silence");
  }
  return samples;
}

}  // namespace unbraid::avdigits
