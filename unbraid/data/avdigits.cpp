#include "unbraid/data/avdigits.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <system_error>
#include <vector>

#include "unbraid/core/error.h"
#include "unbraid/core/random.h"
#include "unbraid/data/avdigits_audio.h"
#include "unbraid/data/avdigits_speech.h"
#include "unbraid/data/avdigits_visual.h"
#include "unbraid/media/png_encoder.h"

namespace unbraid {
namespace {

namespace fs = std::filesystem;
using avdigits::Scribe;

constexpr int kGeneratorVersion = 1;  // raise it when the same options give other bytes
constexpr std::array kSplits = {Split::kTrain, Split::kVal, Split::kTest};
constexpr double kMostDifficulty = 3.0;
constexpr size_t kChatterUtterances = 30;

class Generator {
 public:
  Generator(const GeneratedSet& set, const AvDigitsOptions& options, fs::path folder)
      : set_(set), options_(options), folder_(std::move(folder)) {
    for (const Split split : kSplits) {
      scribes_.emplace_back(split, options.seed);
    }
  }

  void run(const GenerationProgress& progress) {
    for (const char* modality : {"audio", "visual"}) {
      std::error_code failure;
      if (fs::create_directory(folder_ / modality, failure); failure) {
        throw StorageError((folder_ / modality).string() + ": " + failure.message());
      }
    }
    for (const Split split : kSplits) {
      auto& chatter = chatter_[place_of(split)];
      chatter.resize(std::min(kChatterUtterances, set_.size(split)));
      set_.in_parallel(
          chatter.size(), [&](size_t i) { chatter[i] = say_chatter(split, i); },
          [&](size_t) { progress ? progress(0, set_.size()) : void(); });
    }
    set_.in_parallel(
        set_.size(), [&](size_t i) { make_sample(set_.sample(i)); },
        [&](size_t done) { progress ? progress(done, set_.size()) : void(); });
    write_manifest();
  }

 private:
  using Sample = GeneratedSet::Sample;

  static size_t place_of(Split split) { return static_cast<size_t>(split); }
  static int digit_of(const Sample& sample) { return static_cast<int>(sample.index % 10); }
  static std::string audio_of(const Sample& sample) { return "audio/" + sample.id + ".wav"; }
  static std::string visual_of(const Sample& sample) { return "visual/" + sample.id + ".png"; }

  [[nodiscard]] std::vector<float> say_chatter(Split split, size_t index) const {
    const std::string id = fmt::format("{}-chatter-{}", name_of(split), index);
    RandomStream random = RandomStream::of(options_.seed, 0, id, "voice");
    const auto voice = avdigits::draw_voice(split, random);
    return avdigits::speak(static_cast<int>(index % 10), voice);
  }

  void make_sample(const Sample& sample) const {
    const auto stream = [&](const char* purpose) {
      return RandomStream::of(options_.seed, 0, sample.id, purpose);
    };
    const size_t split = place_of(sample.split);
    RandomStream voice_random = stream("voice");
    const auto voice = avdigits::draw_voice(sample.split, voice_random);
    RandomStream audio_random = stream("audio");
    avdigits::write_wav((folder_ / audio_of(sample)).string(),
                        avdigits::record(avdigits::speak(digit_of(sample), voice), chatter_[split],
                                         options_.difficulty, audio_random));
    RandomStream visual_random = stream("visual");
    const auto pixels =
        avdigits::paint(digit_of(sample), scribes_[split], options_.difficulty, visual_random);
    GeneratedSet::write(folder_ / visual_of(sample),
                        encode_png(avdigits::kImageSide, avdigits::kImageSide, 1, pixels));
  }

  void write_manifest() const {
    std::string text = "id,split,label,audio,visual\n";
    for (size_t i = 0; i < set_.size(); ++i) {
      const Sample sample = set_.sample(i);
      text += fmt::format("{},{},{},{},{}\n", sample.id, name_of(sample.split), digit_of(sample),
                          audio_of(sample), visual_of(sample));
    }
    GeneratedSet::write(folder_ / "manifest.csv", text);
  }

  const GeneratedSet& set_;
  const AvDigitsOptions& options_;
  fs::path folder_;
  std::vector<Scribe> scribes_;  // by split, as is
  std::array<std::vector<std::vector<float>>, kSplits.size()> chatter_;
};

}  // namespace

std::string prepare_avdigits(const AvDigitsOptions& options, const GenerationProgress& progress) {
  const GeneratedSet set("avdigits", options);
  set.check_option("difficulty", options.difficulty, 0, kMostDifficulty);
  return set.once(fmt::format("{} {} {} {} {} {}", kGeneratorVersion, options.seed, options.train,
                              options.val, options.test, options.difficulty),
                  "manifest.csv",
                  [&](const fs::path& folder) { Generator(set, options, folder).run(progress); });
}

}  // namespace unbraid
