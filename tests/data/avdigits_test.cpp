#include "unbraid/data/avdigits.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <numbers>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "unbraid/core/error.h"
#include "unbraid/data/avdigits_audio.h"
#include "unbraid/data/avdigits_glyphs.h"
#include "unbraid/data/avdigits_speech.h"
#include "unbraid/data/avdigits_visual.h"

namespace unbraid {
namespace {

namespace fs = std::filesystem;

constexpr std::array kSplits = {Split::kTrain, Split::kVal, Split::kTest};
constexpr std::array kWords = {"zero", "one", "two",   "three", "four",
                               "five", "six", "seven", "eight", "nine"};

std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_file(const fs::path& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

std::string little_endian(uint32_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) {
    text.push_back(static_cast<char>(value >> (8 * i)));
  }
  return text;
}

// What espeak-ng writes to a pipe: sizes that mean nothing.
std::string wav(const std::vector<int16_t>& samples, uint32_t rate = 22050, uint32_t bits = 16,
                const std::string& extra_chunk = "") {
  std::string data;
  for (const int16_t sample : samples) {
    data += little_endian(static_cast<uint16_t>(sample), 2);
  }
  return "RIFF" + little_endian(0x7ffff024, 4) + "WAVE" + extra_chunk + "fmt " +
         little_endian(16, 4) + little_endian(1, 2) + little_endian(1, 2) + little_endian(rate, 4) +
         little_endian(rate * bits / 8, 4) + little_endian(bits / 8, 2) + little_endian(bits, 2) +
         "data" + little_endian(0x7ffff000, 4) + data;
}

// 0.3 s of a tone at 22 050 Hz between two silences of 0.1 s.
std::vector<int16_t> tone(double hertz) {
  std::vector<int16_t> samples(11025);
  for (size_t i = 2205; i < 8820; ++i) {
    samples[i] = static_cast<int16_t>(std::lround(
        8000 * std::sin(2 * std::numbers::pi * hertz * static_cast<double>(i) / 22050)));
  }
  return samples;
}

template <typename Failure, typename Action>
std::string message_of(const Action& action) {
  try {
    action();
  } catch (const Failure& failure) {
    return failure.what();
  }
  return "nothing thrown";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// A folder of its own, and in it an espeak-ng that says each digit as a tone of its own.
class AvDigits : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "avdigits-test-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
    path_ = std::getenv("PATH");
    fs::create_directory(folder_ / "bin");
    for (size_t digit = 0; digit < kWords.size(); ++digit) {
      write_file(folder_ / kWords[digit], wav(tone(300.0 + 100.0 * static_cast<double>(digit))));
    }
    install("for word; do :; done; exec /bin/cat '" + folder_.string() + "'/$word");
  }
  void TearDown() override {
    setenv("PATH", path_.c_str(), 1);
    fs::remove_all(folder_);
  }

  // Makes `script` the espeak-ng that is found.
  void install(const std::string& script) {
    const fs::path program = folder_ / "bin" / "espeak-ng";
    write_file(program, "#!/bin/sh\n" + script + "\n");
    fs::permissions(program, fs::perms::owner_all);
    setenv("PATH", program.parent_path().c_str(), 1);
  }
  void install_output(const std::string& bytes) {
    write_file(folder_ / "output", bytes);
    install("exec /bin/cat '" + (folder_ / "output").string() + "'");
  }

  [[nodiscard]] AvDigitsOptions tiny(const std::string& cache = "cache") const {
    AvDigitsOptions options;
    options.train = 12;
    options.val = 10;
    options.test = 10;
    options.cache = (folder_ / cache).string();
    options.threads = 2;
    return options;
  }

  [[nodiscard]] std::vector<std::string> entries(const std::string& cache = "cache") const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_ / cache)) {
      names.push_back(entry.path().filename());
    }
    return names;
  }

  fs::path folder_;
  std::string path_;
};

std::map<std::string, std::string> contents(const fs::path& folder) {
  std::map<std::string, std::string> all;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) {
      all[fs::relative(entry.path(), folder)] = read_file(entry.path());
    }
  }
  return all;
}

TEST_F(AvDigits, WritesAManifestWithWavAndPngFiles) {
  const fs::path path = prepare_avdigits(tiny());
  ASSERT_EQ(path.filename(), "manifest.csv");
  std::ifstream manifest(path);
  std::string line;
  std::getline(manifest, line);
  EXPECT_EQ(line, "id,split,label,audio,visual");
  std::map<std::string, std::vector<int>> labels;
  while (std::getline(manifest, line)) {
    std::istringstream row(line);
    std::string id, split, label, audio, visual;
    std::getline(row, id, ',');
    std::getline(row, split, ',');
    std::getline(row, label, ',');
    std::getline(row, audio, ',');
    std::getline(row, visual);
    labels[split].push_back(std::stoi(label));

    const std::string sound = read_file(path.parent_path() / audio);
    ASSERT_EQ(sound.size(), 44 + 2 * avdigits::kClipSamples) << line;
    EXPECT_EQ(sound.substr(0, 4), "RIFF");
    EXPECT_EQ(sound.substr(20, 16),  // PCM, mono, 8 kHz, 16 bits
              little_endian(1, 2) + little_endian(1, 2) + little_endian(8000, 4) +
                  little_endian(16000, 4) + little_endian(2, 2) + little_endian(16, 2));
    const std::string picture = read_file(path.parent_path() / visual);
    ASSERT_EQ(picture.substr(0, 8), "\x89PNG\r\n\x1a\n") << line;
    EXPECT_EQ(picture.substr(16, 10), std::string("\0\0\0\x20\0\0\0\x20\x08\0", 10));
  }
  EXPECT_EQ(labels["train"], (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1}));
  EXPECT_EQ(labels["val"], (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
  EXPECT_EQ(labels["test"], labels["val"]);
}

TEST_F(AvDigits, GivesTheSameBytesWithAnyNumberOfThreads) {
  AvDigitsOptions options = tiny("first");
  options.threads = 1;
  const auto first = contents(fs::path(prepare_avdigits(options)).parent_path());
  options.cache = (folder_ / "second").string();
  options.threads = 3;
  const auto second = contents(fs::path(prepare_avdigits(options)).parent_path());
  EXPECT_EQ(first.size(), 1 + 2 * 32U);
  EXPECT_EQ(first, second);

  std::set<std::string> distinct;
  for (const auto& [name, bytes] : first) {
    distinct.insert(bytes);
  }
  EXPECT_EQ(distinct.size(), first.size());

  options.seed = 1;
  const auto other = contents(fs::path(prepare_avdigits(options)).parent_path());
  EXPECT_EQ(other.at("manifest.csv"), first.at("manifest.csv"));
  EXPECT_NE(other.at("audio/train-000003.wav"), first.at("audio/train-000003.wav"));
  EXPECT_NE(other.at("visual/train-000003.png"), first.at("visual/train-000003.png"));
}

TEST_F(AvDigits, KeepsAFinishedSetAndTellsOtherOptionsApart) {
  const std::string path = prepare_avdigits(tiny());
  install("exit 1");
  bool called = false;
  EXPECT_EQ(prepare_avdigits(tiny(), [&](size_t, size_t) { called = true; }), path);
  EXPECT_FALSE(called);

  std::vector<AvDigitsOptions> others(5, tiny());
  others[0].seed = 1;
  others[1].train = 13;
  others[2].val = 13;
  others[3].test = 13;
  others[4].difficulty = 0.999999999;
  for (const AvDigitsOptions& other : others) {
    EXPECT_THROW(prepare_avdigits(other), DataError);
  }
  EXPECT_EQ(entries().size(), 1U);
}

TEST_F(AvDigits, ReportsProgressInOrderInTheCallersThread) {
  size_t last = 0;
  const auto caller = std::this_thread::get_id();
  prepare_avdigits(tiny(), [&](size_t done, size_t total) {
    EXPECT_EQ(total, 32U);
    EXPECT_GE(done, last);
    EXPECT_EQ(std::this_thread::get_id(), caller);
    last = done;
  });
  EXPECT_EQ(last, 32U);
}

TEST_F(AvDigits, StopsWhenProgressThrows) {
  const auto stop = [](size_t done, size_t) {
    if (done > 2) {
      throw std::runtime_error("stopped");
    }
  };
  EXPECT_EQ(message_of<std::runtime_error>([&] { prepare_avdigits(tiny(), stop); }), "stopped");
  EXPECT_TRUE(entries().empty());
}

TEST_F(AvDigits, CanBePreparedTwiceAtOnce) {
  std::string other;
  std::thread second([&] { other = prepare_avdigits(tiny()); });
  const std::string path = prepare_avdigits(tiny());
  second.join();
  EXPECT_EQ(path, other);
  EXPECT_EQ(entries().size(), 1U);
  EXPECT_EQ(contents(fs::path(path).parent_path()).size(), 1 + 2 * 32U);
}

TEST_F(AvDigits, LeavesNothingThatLooksFinishedWhenKilled) {
  AvDigitsOptions options = tiny();
  options.train = 100000;
  const pid_t child = fork();
  if (child == 0) {
    prepare_avdigits(options);
    _exit(0);
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(150));
  kill(child, SIGKILL);
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
  ASSERT_EQ(entries().size(), 1U);
  EXPECT_TRUE(contains(entries()[0], ".tmp-"));
}

TEST_F(AvDigits, ClearsOldLeftovers) {
  const fs::path set = fs::path(prepare_avdigits(tiny())).parent_path();
  fs::remove_all(set);
  const fs::path old = set.string() + ".tmp-abcdef";
  const fs::path recent = set.string() + ".tmp-ghijkl";
  fs::create_directories(old / "set");
  fs::create_directories(recent / "set");
  fs::last_write_time(old, fs::file_time_type::clock::now() - std::chrono::hours(25));
  install("exit 1");
  EXPECT_THROW(prepare_avdigits(tiny()), DataError);
  EXPECT_FALSE(fs::exists(old));
  EXPECT_TRUE(fs::exists(recent));
}

TEST_F(AvDigits, RefusesOptionsOutOfRange) {
  const auto message = [&](auto change) {
    AvDigitsOptions options = tiny();
    change(options);
    return message_of<RecipeError>([&] { prepare_avdigits(options); });
  };
  EXPECT_EQ(message([](auto& options) { options.train = 9; }),
            "avdigits: train must be from 10 to 1000000, found 9");
  EXPECT_TRUE(contains(message([](auto& options) { options.val = 1000001; }), "val must be"));
  EXPECT_TRUE(contains(message([](auto& options) { options.test = -1; }), "test must be"));
  EXPECT_TRUE(contains(message([](auto& options) { options.difficulty = -0.1; }), "-0.1"));
  EXPECT_TRUE(contains(message([](auto& options) { options.difficulty = 3.1; }), "3.1"));
  EXPECT_TRUE(contains(message([](auto& options) { options.difficulty = NAN; }), "nan"));
  EXPECT_TRUE(contains(message([](auto& options) { options.threads = -1; }), "threads must be"));
  EXPECT_FALSE(fs::exists(folder_ / "cache"));
}

TEST_F(AvDigits, SaysWhatToInstallWhenEspeakIsMissing) {
  fs::remove(folder_ / "bin" / "espeak-ng");
  EXPECT_TRUE(contains(message_of<DataError>([&] { prepare_avdigits(tiny()); }),
                       "install the Debian package espeak-ng"));
  EXPECT_TRUE(entries().empty());
}

TEST_F(AvDigits, SaysWhereItCannotWrite) {
  write_file(folder_ / "file", "");
  AvDigitsOptions options = tiny("file");
  EXPECT_TRUE(contains(message_of<StorageError>([&] { prepare_avdigits(options); }),
                       options.cache + ": cannot make a folder"));
  EXPECT_TRUE(contains(
      message_of<StorageError>([&] { avdigits::write_wav(options.cache + "/x.wav", {0.0F}); }),
      "file/x.wav"));
}

TEST_F(AvDigits, RefusesAFolderWithoutAManifest) {
  const fs::path manifest = prepare_avdigits(tiny());
  fs::remove(manifest);
  EXPECT_TRUE(contains(message_of<StorageError>([&] { prepare_avdigits(tiny()); }),
                       manifest.parent_path().string() + ": expected a finished data set"));
}

TEST_F(AvDigits, FindsItsCacheAsTheXdgSpecificationSays) {
  AvDigitsOptions options = tiny();
  options.cache = "";
  install("exit 1");  // the folder is there all the same
  const char* former = std::getenv("HOME");
  const std::string home = former == nullptr ? "" : former;
  setenv("HOME", folder_.c_str(), 1);
  setenv("XDG_CACHE_HOME", (folder_ / "xdg").c_str(), 1);
  EXPECT_THROW(prepare_avdigits(options), DataError);
  EXPECT_TRUE(fs::exists(folder_ / "xdg" / "unbraid"));
  EXPECT_FALSE(fs::exists(folder_ / ".cache"));
  setenv("XDG_CACHE_HOME", "relative", 1);
  EXPECT_THROW(prepare_avdigits(options), DataError);
  EXPECT_TRUE(fs::exists(folder_ / ".cache" / "unbraid"));
  unsetenv("HOME");
  EXPECT_THROW(prepare_avdigits(options), StorageError);
  unsetenv("XDG_CACHE_HOME");
  setenv("HOME", home.c_str(), 1);
}

using AvDigitsSpeech = AvDigits;

TEST_F(AvDigitsSpeech, ResamplesTrimsAndScales) {
  install_output(wav(tone(1000), 22050, 16, "LIST" + little_endian(3, 4) + "abc" + '\0'));
  const std::vector<float> speech = avdigits::speak(3, {});
  EXPECT_NEAR(static_cast<double>(speech.size()), 2400, 60);
  double energy = 0;
  int crossings = 0;
  for (size_t i = 0; i < speech.size(); ++i) {
    energy += speech[i] * speech[i];
    crossings += i > 100 && i <= 2100 && (speech[i - 1] < 0) != (speech[i] < 0) ? 1 : 0;
  }
  EXPECT_NEAR(energy / static_cast<double>(speech.size()), 1.0, 1e-4);
  EXPECT_NEAR(crossings, 500, 1);  // 1000 Hz over 2000 samples at 8 kHz
}

TEST_F(AvDigitsSpeech, AsksForTheVoice) {
  install("echo \"$@\" > '" + (folder_ / "asked").string() + "'; exec /bin/cat '" +
          (folder_ / "four").string() + "'");
  avdigits::speak(4, {.name = "en-us+f2", .pitch = 33, .words_per_minute = 166});
  EXPECT_EQ(read_file(folder_ / "asked"), "-v en-us+f2 -p 33 -s 166 -z --stdout four\n");
}

TEST_F(AvDigitsSpeech, ReportsAProgramThatFails) {
  const auto message = [] {
    return message_of<DataError>(
        [] { avdigits::speak(3, {.name = "en-us+f2"}, std::chrono::milliseconds(300)); });
  };
  const std::string good = wav(tone(500));
  install("exit 3");
  EXPECT_TRUE(contains(message(), "espeak-ng -v en-us+f2 three: failed"));
  install("kill -9 $$");
  EXPECT_TRUE(contains(message(), "failed"));
  install("exec /usr/bin/yes");
  EXPECT_TRUE(contains(message(), "three: no speech"));
  for (const std::string& output :
       {std::string(), std::string("hello"), good.substr(0, 20), good.substr(0, 36), "X" + good,
        wav(tone(500), 22050, 8), wav(tone(500), 0), wav(tone(500), 4000000000U)}) {
    install_output(output);
    EXPECT_TRUE(contains(message(), "expected a mono 16-bit WAV")) << output.substr(0, 60);
  }
  for (const std::string& output : {good.substr(0, 44), wav(std::vector<int16_t>(1000))}) {
    install_output(output);
    EXPECT_TRUE(contains(message(), "found silence"));
  }
}

TEST_F(AvDigitsSpeech, DoesNotWaitForEver) {
  const auto start = std::chrono::steady_clock::now();
  install("exec /bin/sleep 30");
  EXPECT_THROW(avdigits::speak(3, {}, std::chrono::milliseconds(50)), DataError);
  install("exec >&-; exec /bin/sleep 30");  // ends its output, not itself
  EXPECT_THROW(avdigits::speak(3, {}, std::chrono::milliseconds(50)), DataError);
  install("exec /usr/bin/yes");
  EXPECT_THROW(avdigits::speak(3, {}, std::chrono::seconds(20)), DataError);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
}

TEST(AvDigitsVoices, BelongToOneSplitOnly) {
  std::set<std::string> seen;
  for (const Split split : kSplits) {
    for (const std::string& speaker : avdigits::speakers(split)) {
      EXPECT_TRUE(seen.insert(speaker).second) << speaker;
    }
    RandomStream random(1);
    std::set<std::string> drawn;
    for (int i = 0; i < 2000; ++i) {
      const std::string name = avdigits::draw_voice(split, random).name;
      drawn.insert(name.substr(name.find_last_of('+') + 1));
    }
    const auto& all = avdigits::speakers(split);
    EXPECT_EQ(drawn, std::set<std::string>(all.begin(), all.end()));
  }
}

double largest_difference(const auto& left, const auto& right) {
  double largest = 0;
  for (size_t i = 0; i < left.size(); ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(left[i]) - right[i]));
  }
  return largest;
}

TEST(AvDigitsAudio, LeavesCleanSpeechAloneButForPlaceAndLoudness) {
  std::vector<float> speech(1000);
  for (size_t i = 0; i < speech.size(); ++i) {
    speech[i] = std::sin(0.8F * static_cast<float>(i));
  }
  const std::vector<std::vector<float>> chatter = {std::vector<float>(3000, 1.0F)};
  std::set<size_t> onsets;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    RandomStream random(seed);
    const std::vector<float> clean = avdigits::record(speech, chatter, 0.0, random);
    ASSERT_EQ(clean.size(), avdigits::kClipSamples);
    const float peak = *std::max_element(clean.begin(), clean.end());
    EXPECT_GT(peak, 0.2F);
    EXPECT_LT(peak, 0.9F);
    const auto first = std::find_if(clean.begin(), clean.end(),
                                    [&](float sample) { return std::abs(sample) > 0.1F * peak; });
    onsets.insert(static_cast<size_t>(first - clean.begin()));
    double outside = 0;
    for (size_t i = 0; i < clean.size(); ++i) {
      const auto from_onset = static_cast<int64_t>(i) - (first - clean.begin());
      outside = from_onset < -5 || from_onset > 1300 ? std::max<double>(outside, std::abs(clean[i]))
                                                     : outside;
    }
    EXPECT_LT(outside, 0.02 * peak);

    RandomStream again(seed);
    EXPECT_LT(largest_difference(clean, avdigits::record(speech, chatter, 1e-5, again)), 1e-3);
    RandomStream noisy(seed);
    EXPECT_GT(largest_difference(clean, avdigits::record(speech, chatter, 1.0, noisy)), 0.02);
  }
  EXPECT_GT(onsets.size(), 15U);
}

TEST(AvDigitsAudio, CutsSpeechThatIsTooLong) {
  RandomStream random(1);
  const std::vector<float> clip =
      avdigits::record(std::vector<float>(20000, 1.0F), {}, 3.0, random);
  EXPECT_EQ(clip.size(), avdigits::kClipSamples);
  for (const float sample : clip) {
    ASSERT_LE(std::abs(sample), 1.0F);
  }
}

// How many rows or columns of pixels the ink spans, whichever are more.
int extent(const avdigits::Glyph& glyph) {
  constexpr int kSide = avdigits::Glyph::kSide;
  int left = kSide, top = kSide, right = -1, bottom = -1;
  for (int i = 0; i < kSide * kSide; ++i) {
    if (glyph.ink[static_cast<size_t>(i)] > 0) {
      left = std::min(left, i % kSide);
      right = std::max(right, i % kSide);
      top = std::min(top, i / kSide);
      bottom = std::max(bottom, i / kSide);
    }
  }
  EXPECT_NEAR(left + right, kSide - 1, 5);
  EXPECT_NEAR(top + bottom, kSide - 1, 5);
  return std::max(right - left, bottom - top) + 1;
}

TEST(AvDigitsFonts, BelongToOneSplitOnlyAndHoldTenDigits) {
  std::map<std::string, Split> families;
  for (const Split split : kSplits) {
    for (const avdigits::FontFile& font : avdigits::fonts(split)) {
      const std::string stem = fs::path(font.path).stem();
      const std::string family = stem.substr(0, stem.find('-'));
      EXPECT_EQ(families.emplace(family, split).first->second, split) << family;
      const auto digits = avdigits::load_font(font);
      for (size_t digit = 0; digit < 10; ++digit) {
        double ink = 0;
        for (const float pixel : digits[digit].ink) {
          ASSERT_TRUE(pixel >= 0 && pixel <= 1);
          ink += pixel;
        }
        EXPECT_NEAR(extent(digits[digit]), 48, 5) << font.path << " " << digit;
        EXPECT_GT(ink, 60) << font.path << " " << digit;
        EXPECT_LT(ink, 2500) << font.path << " " << digit;
        for (size_t other = 0; other < digit; ++other) {
          EXPECT_NE(digits[digit].ink, digits[other].ink) << font.path << digit << other;
        }
      }
    }
  }
}

TEST(AvDigitsFonts, SayWhatToInstallWhenMissing) {
  EXPECT_EQ(message_of<DataError>([] {
              avdigits::load_font({"/nowhere/Font.ttf", "fonts-nowhere"});
            }),
            "/nowhere/Font.ttf: cannot open this font; install the Debian package fonts-nowhere");
  const fs::path bad = fs::temp_directory_path() / ("avdigits-bad-" + std::to_string(getpid()));
  write_file(bad, std::string(100, 'x'));
  EXPECT_THROW(avdigits::load_font({bad, "fonts-nowhere"}), DataError);
  fs::remove(bad);
}

TEST(AvDigitsGlyph, InterpolatesBetweenPixelCentres) {
  avdigits::Glyph glyph;
  glyph.ink[0] = 1.0F;
  glyph.ink[1] = 0.5F;
  EXPECT_FLOAT_EQ(glyph.at(0.5, 0.5), 1.0F);
  EXPECT_FLOAT_EQ(glyph.at(1.0, 0.5), 0.75F);
  EXPECT_FLOAT_EQ(glyph.at(0.5, 0.75), 0.75F);
  EXPECT_FLOAT_EQ(glyph.at(0.0, 0.5), 0.5F);
  for (const double far : {-1.0, 65.0, 1e300, -1e300, static_cast<double>(NAN)}) {
    EXPECT_EQ(glyph.at(far, 0.5), 0.0F);
    EXPECT_EQ(glyph.at(0.5, far), 0.0F);
  }
}

TEST(AvDigitsHand, WritesInAStyleOfItsOwn) {
  const avdigits::Hand hand(RandomStream(5));
  const avdigits::Hand other(RandomStream(6));
  for (int digit = 0; digit < 10; ++digit) {
    RandomStream first(1), second(1), third(2);
    const avdigits::Glyph glyph = hand.write(digit, first);
    EXPECT_EQ(glyph.ink, hand.write(digit, second).ink);
    EXPECT_NE(glyph.ink, hand.write(digit, third).ink);
    RandomStream fourth(1);
    EXPECT_NE(glyph.ink, other.write(digit, fourth).ink);
    EXPECT_GT(
        std::count_if(glyph.ink.begin(), glyph.ink.end(), [](float ink) { return ink > 0.5F; }),
        60);
  }
}

// At difficulty 0 a pixel is the mean of the glyph's two by two that it covers.
TEST(AvDigitsVisual, PaintsTheGlyphAloneWhenClean) {
  const avdigits::Scribe scribe(Split::kTest, 0);
  for (int digit = 0; digit < 10; ++digit) {
    RandomStream first(static_cast<uint64_t>(digit));
    RandomStream second = first;
    const std::vector<uint8_t> picture = avdigits::paint(digit, scribe, 0.0, first);
    const std::vector<float> ink = scribe.write(digit, second).ink;
    ASSERT_EQ(picture.size(), 1024U);
    for (size_t y = 0; y < 32; ++y) {
      for (size_t x = 0; x < 32; ++x) {
        const size_t corner = 2 * y * 64 + 2 * x;
        const float mean =
            (ink[corner] + ink[corner + 1] + ink[corner + 64] + ink[corner + 65]) / 4;
        ASSERT_NEAR(picture[y * 32 + x], 255 * (1 - mean), 0.51) << digit << " " << x << " " << y;
      }
    }
  }
}

TEST(AvDigitsVisual, DistortsInProportionToTheDifficulty) {
  const avdigits::Scribe scribe(Split::kTrain, 0);
  for (int digit = 0; digit < 10; ++digit) {
    const RandomStream random(static_cast<uint64_t>(digit));
    const auto at = [&](double difficulty) {
      RandomStream copy = random;
      return avdigits::paint(digit, scribe, difficulty, copy);
    };
    EXPECT_LE(largest_difference(at(0.0), at(0.001)), 8);
    EXPECT_LE(largest_difference(at(1.0), at(1.001)), 30);
    EXPECT_GT(largest_difference(at(0.0), at(1.0)), 50);
  }
}

}  // namespace
}  // namespace unbraid
