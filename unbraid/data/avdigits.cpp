#include "unbraid/data/avdigits.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <vector>

#include <fmt/format.h>

#include "unbraid/core/error.h"
#include "unbraid/core/random.h"
#include "unbraid/data/avdigits_audio.h"
#include "unbraid/data/avdigits_speech.h"
#include "unbraid/data/avdigits_visual.h"
#include "unbraid/data/generated_set.h"
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

class Generator {
 public:
  Generator(const AvDigitsOptions& options, fs::path folder)
      : options_(options),
        folder_(std::move(folder)),
        threads_(options.threads > 0 ? options.threads : generating_threads()) {
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
    write_generated(folder_ / visual_of(key),
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
    write_generated(folder_ / "manifest.csv", text);
  }

  const AvDigitsOptions& options_;
  fs::path folder_;
  int threads_;
  std::vector<Scribe> scribes_;  // by split, as is
  std::array<std::vector<std::vector<float>>, kSplits.size()> chatter_;
};

}  // namespace

std::string prepare_avdigits(const AvDigitsOptions& options, const Progress& progress) {
  check(options);
  const std::string content =
      fmt::format("{} {} {} {} {} {}", kGeneratorVersion, options.seed, options.train, options.val,
                  options.test, options.difficulty);
  return generate_once({"avdigits", content, options.cache},
                       [&](const fs::path& folder) { Generator(options, folder).run(progress); });
}

}  // namespace unbraid
