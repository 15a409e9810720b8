#include "unbraid/media/limits.h"

#include <numbers>
#include <thread>

#include "media/reference.h"
#include "unbraid/media/container.h"
#include "unbraid/media/decoder.h"

namespace unbraid {
namespace {

using testing::expect_data_error;
using testing::message_of;
using testing::options_of;
using testing::run;
using testing::TemporaryFolder;
using testing::write_array;
using Entries = std::vector<std::pair<std::string, decltype(Value::data)>>;

TEST(DecodeBudget, HoldsWhileItLivesInItsThread) {
  const DecodeLimits defaults;
  EXPECT_EQ(DecodeBudget::limits().bytes, defaults.bytes);
  {
    const DecodeBudget outer({.bytes = 100, .seconds = 50});
    EXPECT_NO_THROW(DecodeBudget::require_memory(100, "a"));
    expect_data_error([] { DecodeBudget::require_memory(101, "a"); }, {"a: ", "100", "101"});
    {
      const DecodeBudget inner({.bytes = 10, .seconds = 50});
      EXPECT_EQ(DecodeBudget::limits().bytes, 10);
    }
    EXPECT_EQ(DecodeBudget::limits().bytes, 100);
    std::thread([&] { EXPECT_EQ(DecodeBudget::limits().bytes, defaults.bytes); }).join();
  }
  EXPECT_EQ(DecodeBudget::limits().bytes, defaults.bytes);
}

TEST(DecodeBudget, CountsTimeFromItsStart) {
  const DecodeBudget budget({.bytes = 1, .seconds = 1e-9});
  const auto deadline = DecodeBudget::deadline();
  std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_EQ(DecodeBudget::deadline(), deadline);
  expect_data_error([&] { DecodeBudget::require_time(deadline, "a"); }, {"a: ", "decode_seconds"});
}

class LimitsOfKinds : public ::testing::Test {
 protected:
  /// Reads `path` with limits that suffice, then with less memory and with no time.
  static void expect_limited(Entries entries, const std::string& path, double enough_mb,
                             double too_little_mb, bool timed) {
    const auto load = [&](double megabytes, double seconds) {
      Entries all = entries;
      all.emplace_back("decode_mb", megabytes);
      all.emplace_back("decode_seconds", seconds);
      Options options = options_of(all);
      const auto decoder = make_decoder(options);
      options.finish();
      static_cast<void>(decoder->load(path, {}));
      static_cast<void>(decoder->decode(path));
    };
    EXPECT_EQ(message_of_any([&] { load(enough_mb, 60); }), "") << path;
    expect_data_error([&] { load(too_little_mb, 60); }, {path});
    if (timed) {
      expect_data_error([&] { load(enough_mb, 1e-9); }, {path, "decode_seconds"});
    }
  }
  template <typename Action>
  static std::string message_of_any(const Action& action) {
    try {
      action();
      return "";
    } catch (const std::exception& error) {
      return error.what();
    }
  }

  TemporaryFolder folder_;
};

TEST_F(LimitsOfKinds, Audio) {
  const std::vector<float> tone(160000, 0.5F);
  const std::string path =
      testing::write_sound(folder_.file("a.wav"), SF_FORMAT_WAV | SF_FORMAT_PCM_16, 16000, 1, tone);
  const Entries entries = {{"kind", std::string("audio")}, {"sample_rate", int64_t{16000}}};
  expect_limited(entries, path, 0.7, 0.6, true);
  // What resampling makes of it counts too.
  expect_limited({{"kind", std::string("audio")}, {"sample_rate", int64_t{64000}}}, path, 2.5, 2.4,
                 true);
}

TEST_F(LimitsOfKinds, Image) {
  for (const char* name : {"a.png", "a.webp"}) {
    const std::string path = folder_.file(name);
    testing::reference(folder_, "saved",
                       write_array(folder_.file("a.npy"), torch::zeros({400, 500, 3})), {path});
    expect_limited({{"kind", std::string("image")}}, path, 0.6, 0.5, true);
  }
}

TEST_F(LimitsOfKinds, FoldersOfFrames) {
  std::filesystem::create_directories(folder_.file("clip"));
  const std::string array = write_array(folder_.file("a.npy"), torch::zeros({40, 50, 3}));
  for (const char* name : {"clip/0.png", "clip/1.png"}) {
    testing::reference(folder_, "saved", array, {folder_.file(name)});
  }
  expect_limited({{"kind", std::string("video")}, {"frames", int64_t{2}}}, folder_.file("clip"),
                 0.012, 0.011, true);
}

TEST_F(LimitsOfKinds, VideoFiles) {
  if (!container_support()) {
    GTEST_SKIP() << "built without FFmpeg";
  }
  const std::string path = folder_.file("a.mp4");
  run(
      fmt::format("ffmpeg -f lavfi -i testsrc=size=64x64:rate=5:duration=2 -f lavfi -i "
                  "sine=duration=2 -c:v libx264 -c:a aac {}",
                  path));
  expect_limited({{"kind", std::string("video")}, {"fps", 0.0}}, path, 0.12, 0.11, true);
  expect_limited({{"kind", std::string("audio")}}, path, 0.4, 0.3, true);
}

TEST_F(LimitsOfKinds, Arrays) {
  const std::string path = write_array(folder_.file("a.npy"), torch::zeros({1000, 100}));
  expect_limited({{"kind", std::string("array")}}, path, 0.4, 0.3, false);
}

TEST_F(LimitsOfKinds, AreChecked) {
  for (const double bad : {0.0, -1.0}) {
    message_of<RecipeError>([&] {
      Options options = options_of({{"kind", std::string("image")}, {"decode_mb", bad}});
      static_cast<void>(make_decoder(options));
    });
    message_of<RecipeError>([&] {
      Options options = options_of({{"kind", std::string("image")}, {"decode_seconds", bad}});
      static_cast<void>(make_decoder(options));
    });
  }
}

}  // namespace
}  // namespace unbraid
