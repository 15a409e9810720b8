#include "unbraid/media/video.h"

#include <chrono>
#include <set>

#include "media/reference.h"
#include "unbraid/media/container.h"
#include "unbraid/media/image.h"
#include "unbraid/media/sound.h"

namespace unbraid {
namespace {

using testing::content_of;
using testing::expect_data_error;
using testing::message_of;
using testing::options_of;
using testing::reference;
using testing::run;
using testing::TemporaryFolder;
using testing::write_array;

constexpr int kSide = 32;
constexpr int kLevels = 8;  // frame n is grey of level 8 n, which no codec blurs into the next

struct Format {
  const char* name;     // of the file
  const char* options;  // of ffmpeg
};
constexpr Format kFormats[] = {
    {"a.mp4", "-c:v libx264 -g 5 -bf 2"}, {"a.mkv", "-c:v libx264 -g 12"},
    {"a.webm", "-c:v libvpx -b:v 1M"},    {"a.flv", "-c:v flv -q:v 2"},
    {"a.avi", "-c:v mjpeg -q:v 2"},       {"a.ts", "-c:v libx264 -g 5"},
};

class Video : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!container_support()) {
      GTEST_SKIP() << "built without FFmpeg";
    }
  }

  /// Ten frames a second; `filter` may give them other times.
  std::string write_video(const std::string& name, int frames, const std::string& options,
                          const std::string& filter = "") {
    std::string pixels;
    for (int n = 0; n < frames; ++n) {
      pixels.append(size_t{kSide} * kSide * 3, static_cast<char>(n * kLevels));
    }
    const std::string raw = folder_.write("frames.rgb", pixels);
    run(fmt::format(
        "ffmpeg -y -f rawvideo -pix_fmt rgb24 -s {}x{} -r 10 -i {} {} {} -pix_fmt {} {}", kSide,
        kSide, raw, filter, options,
        std::string(options).find("mjpeg") == std::string::npos ? "yuv420p" : "yuvj420p",
        folder_.file(name)));
    return folder_.file(name);
  }

  static int number_of(const torch::Tensor& frame) {
    return static_cast<int>(std::lround(frame.to(torch::kFloat).mean().item<double>() / kLevels));
  }
  static std::vector<int> numbers_of(const std::vector<torch::Tensor>& frames) {
    std::vector<int> numbers;
    for (const torch::Tensor& frame : frames) {
      numbers.push_back(number_of(frame));
    }
    return numbers;
  }
  static std::vector<int> numbers_of(const torch::Tensor& frames) {
    return numbers_of(frames.unbind(0));
  }
  static VideoDecoder decoder(std::vector<std::pair<std::string, decltype(Value::data)>> entries) {
    entries.emplace_back("size", int64_t{kSide});
    Options options = options_of(entries);
    VideoDecoder made(options);
    options.finish();
    return made;
  }

  TemporaryFolder folder_;
};

TEST_F(Video, KnowsWhenFramesAreShownAndReadsThem) {
  for (const auto& [name, options] : kFormats) {
    VideoFile file(write_video(name, 25, options));
    ASSERT_EQ(file.times().size(), 25) << name;
    for (int n = 0; n < 25; ++n) {
      EXPECT_NEAR(file.times()[n], n * 0.1, 0.002) << name;
    }
    EXPECT_NEAR(file.duration(), 2.5, 0.01) << name;
    const auto frames = file.frames_at({0.0, 0.05, 0.11, 0.9999, 1.5001, 2.4, 99.0});
    EXPECT_EQ(numbers_of(frames), (std::vector<int>{0, 0, 1, 9, 15, 24, 24})) << name;
    EXPECT_EQ(frames[0].sizes(), torch::IntArrayRef({kSide, kSide, 3}));
    EXPECT_EQ(frames[0].dtype(), torch::kUInt8);
  }
}

TEST_F(Video, SeeksToWhatItWouldHaveDecoded) {
  for (const auto& [name, options] : kFormats) {
    const std::string path = write_video(name, 25, options);
    std::vector<double> all;
    for (int n = 0; n < 25; ++n) {
      all.push_back(n * 0.1 + 0.01);
    }
    const auto whole = VideoFile(path).frames_at(all);
    for (const int n : {3, 11, 17, 24}) {
      const auto one = VideoFile(path).frames_at({all[n]});
      EXPECT_TRUE(torch::equal(one[0], whole[n])) << name << " " << n;
    }
    const auto two = VideoFile(path).frames_at({all[1], all[20]});
    EXPECT_TRUE(torch::equal(two[1], whole[20])) << name;
  }
}

TEST_F(Video, TakesFramesAtItsOwnRate) {
  for (const auto& [name, options] : kFormats) {
    const std::string path = write_video(name, 25, options);
    EXPECT_EQ(numbers_of(decoder({{"fps", 4.0}}).decode(path)),
              (std::vector<int>{0, 2, 5, 7, 10, 12, 15, 17, 20, 22}))
        << name;
    EXPECT_EQ(decoder({{"fps", 0.0}}).decode(path).size(0), 25) << name;
    EXPECT_EQ(numbers_of(decoder({}).decode(path)), (std::vector<int>{0, 10, 20})) << name;
  }
}

TEST_F(Video, FollowsAVariableFrameRate) {
  // Frame n is shown at 0.05 n² seconds.
  const std::string path =
      write_video("a.mkv", 8, "-c:v libx264 -fps_mode passthrough -enc_time_base 1/1000",
                  "-vf settb=1/1000,setpts=N*N*50");
  VideoFile file(path);
  for (int n = 0; n < 8; ++n) {
    EXPECT_NEAR(file.times()[n], 0.05 * n * n, 0.002);
  }
  EXPECT_EQ(numbers_of(file.frames_at({0.0, 0.04, 0.06, 0.19, 0.21, 1.3, 2.44, 2.46})),
            (std::vector<int>{0, 0, 1, 1, 2, 5, 6, 7}));
}

TEST_F(Video, LoadsWhatItWouldHaveDecodedAndTransformed) {
  const std::string path = write_video("a.mp4", 25, "-c:v libx264 -g 5");
  for (const std::string choice : {"first", "uniform", "segment"}) {
    const VideoDecoder video = decoder({{"frames", int64_t{3}}, {"choice", choice}, {"fps", 5.0}});
    const torch::Tensor decoded = video.decode(path);
    for (const bool training : {false, true}) {
      for (uint64_t epoch = 0; epoch < 3; ++epoch) {
        const SampleContext context{
            .seed = 1, .epoch = epoch, .id = "a", .modality = "face", .training = training};
        const torch::Tensor loaded = video.load(path, context);
        EXPECT_EQ(loaded.sizes(), torch::IntArrayRef({3, 3, kSide, kSide}));
        EXPECT_TRUE(torch::equal(loaded, video.transform(decoded, context))) << choice;
      }
    }
  }
}

TEST(ChooseFrames, TakesTheFirstEveryNthOrOneASegment) {
  EXPECT_EQ(choose_frames(FrameChoice::kFirst, 10, 3, nullptr), (std::vector<int64_t>{0, 1, 2}));
  EXPECT_EQ(choose_frames(FrameChoice::kFirst, 2, 3, nullptr), (std::vector<int64_t>{0, 1, 1}));
  EXPECT_EQ(choose_frames(FrameChoice::kUniform, 10, 3, nullptr), (std::vector<int64_t>{0, 3, 6}));
  EXPECT_EQ(choose_frames(FrameChoice::kUniform, 2, 3, nullptr), (std::vector<int64_t>{0, 0, 1}));
  EXPECT_EQ(choose_frames(FrameChoice::kSegment, 9, 3, nullptr), (std::vector<int64_t>{1, 4, 7}));
  EXPECT_EQ(choose_frames(FrameChoice::kSegment, 1, 3, nullptr), (std::vector<int64_t>{0, 0, 0}));
  std::array<std::set<int64_t>, 3> seen;
  RandomStream random(7);
  for (int i = 0; i < 200; ++i) {
    const auto numbers = choose_frames(FrameChoice::kSegment, 9, 3, &random);
    for (size_t segment = 0; segment < 3; ++segment) {
      seen[segment].insert(numbers[segment]);
    }
  }
  EXPECT_EQ(seen[0], (std::set<int64_t>{0, 1, 2}));
  EXPECT_EQ(seen[1], (std::set<int64_t>{3, 4, 5}));
  EXPECT_EQ(seen[2], (std::set<int64_t>{6, 7, 8}));
}

/// Folders of images need no FFmpeg.
class FrameFolder : public Video {
 protected:
  void SetUp() override {}

  std::string write_frames(const std::string& folder, const std::vector<int>& levels,
                           int width = kSide) {
    std::filesystem::create_directories(folder_.file(folder));
    for (size_t i = 0; i < levels.size(); ++i) {
      const torch::Tensor pixels = torch::full({kSide, width, 3}, levels[i]);
      reference(folder_, "saved", write_array(folder_.file("pixels.npy"), pixels),
                {folder_.file(fmt::format("{}/{:05}.png", folder, i * 30))});
    }
    return folder_.file(folder);
  }
};

TEST_F(FrameFolder, TakesTheImagesInTheOrderOfTheirNames) {
  const std::string path = write_frames("clip", {0, 8, 16, 24});
  static_cast<void>(folder_.write("clip/notes.txt", "not an image"));
  const VideoDecoder video = decoder({{"frames", int64_t{3}}});
  EXPECT_NO_THROW(video.check(path));
  EXPECT_EQ(numbers_of(video.decode(path)), (std::vector<int>{0, 1, 2, 3}));
  const torch::Tensor loaded = video.load(path, {});
  EXPECT_EQ(loaded.sizes(), torch::IntArrayRef({3, 3, kSide, kSide}));
  EXPECT_NEAR(loaded[2][0].mean().item<double>(), (16 / 255.0 - 0.485) / 0.229, 1e-5);
}

TEST_F(FrameFolder, OrdersNumbersByTheirValue) {
  const std::vector<std::string> ordered = {"1.png",
                                            "02.png",
                                            "2.png",
                                            "9.png",
                                            "10.png",
                                            "010a.png",
                                            "99999999999999999999.png",
                                            "a1b2.png",
                                            "a1b10.png",
                                            "a01b11.png",
                                            "a2.png",
                                            "b.png"};
  for (const std::string& first : ordered) {
    for (const std::string& second : ordered) {
      EXPECT_EQ(numbered_before(first, second),
                std::find(ordered.begin(), ordered.end(), first) <
                    std::find(ordered.begin(), ordered.end(), second))
          << first << " " << second;
    }
  }
  write_frames("clip", {0, 8, 16});
  const std::filesystem::path clip = folder_.file("clip");
  std::filesystem::rename(clip / "00000.png", clip / "1.png");
  std::filesystem::rename(clip / "00030.png", clip / "2.png");
  std::filesystem::rename(clip / "00060.png", clip / "10.png");
  EXPECT_EQ(numbers_of(decoder({}).decode(clip.string())), (std::vector<int>{0, 1, 2}));
}

TEST_F(FrameFolder, PairsTheFoldersOfOpticalFlow) {
  write_frames("u", {10, 20});
  write_frames("v", {30, 40});
  const VideoDecoder flow =
      decoder({{"frames", int64_t{2}}, {"channels", int64_t{2}}, {"flip", 1.0}});
  const std::string cell = flow.resolve("u|v", folder_.file(""));
  EXPECT_NO_THROW(flow.check(cell));
  const torch::Tensor decoded = flow.decode(cell);
  ASSERT_EQ(decoded.sizes(), torch::IntArrayRef({2, kSide, kSide, 2}));
  EXPECT_EQ(decoded[1][0][0][0].item<int>(), 20);
  EXPECT_EQ(decoded[1][0][0][1].item<int>(), 40);
  // Mirrored, things move the other way along u.
  const torch::Tensor mirrored = flow.transform(decoded, {.seed = 1, .id = "a", .training = true});
  EXPECT_NEAR(mirrored[1][0].mean().item<double>(), ((255 - 20) / 255.0 - 0.5) / 0.5, 1e-5);
  EXPECT_NEAR(mirrored[1][1].mean().item<double>(), (40 / 255.0 - 0.5) / 0.5, 1e-5);
  expect_data_error([&] { flow.check(folder_.file("u")); }, {"u|v"});
  write_frames("short", {30});
  expect_data_error([&] { return flow.decode(flow.resolve("u|short", folder_.file(""))); },
                    {"short", "expected 2 images", "found 1"});
}

TEST_F(FrameFolder, FramesAreCutApartOrAlike) {
  std::filesystem::create_directories(folder_.file("clip"));
  const torch::Tensor pixels =
      torch::arange(kSide * kSide * 3).remainder(251).view({kSide, kSide, 3});
  const std::string array = write_array(folder_.file("pixels.npy"), pixels);
  for (const char* name : {"clip/0.png", "clip/1.png"}) {
    reference(folder_, "saved", array, {folder_.file(name)});
  }
  const SampleContext context{.seed = 3, .id = "a", .training = true};
  const torch::Tensor apart = decoder({{"frames", int64_t{2}}}).load(folder_.file("clip"), context);
  EXPECT_FALSE(torch::equal(apart[0], apart[1]));
  const torch::Tensor alike =
      decoder({{"frames", int64_t{2}}, {"share_draw", true}}).load(folder_.file("clip"), context);
  EXPECT_TRUE(torch::equal(alike[0], alike[1]));
}

TEST_F(FrameFolder, RefusesFoldersWithoutImages) {
  std::filesystem::create_directories(folder_.file("none"));
  const VideoDecoder video = decoder({});
  expect_data_error([&] { return video.load(folder_.file("none"), {}); },
                    {"none", "expected images"});
  expect_data_error([&] { video.check(folder_.file("missing")); }, {"missing"});
}

TEST_F(FrameFolder, AClipOfFramesOfSeveralSizesCannotBeKept) {
  const std::string path = write_frames("clip", {0, 8});
  write_frames("wide", {16}, 2 * kSide);
  std::filesystem::copy(folder_.file("wide/00000.png"), folder_.file("clip/99999.png"));
  expect_data_error([&] { return decoder({}).decode(path); }, {"clip", "one size"});
  EXPECT_EQ(decoder({{"frames", int64_t{3}}}).load(path, {}).dim(), 4);
}

TEST_F(Video, FindsFilesCutInTheMiddle) {
  for (const auto& [name, options] : kFormats) {
    if (name == std::string("a.ts")) {
      continue;  // any part of a transport stream is one
    }
    const std::string whole = content_of(write_video(name, 25, options));
    const VideoDecoder video = decoder({{"fps", 0.0}});
    for (const double part : {0.001, 0.05, 0.3, 0.5}) {
      const auto bytes = static_cast<size_t>(part * static_cast<double>(whole.size()));
      const std::string path = folder_.write(name, whole.substr(0, std::max<size_t>(bytes, 1)));
      expect_data_error([&] { return video.decode(path); }, {path});
    }
  }
}

TEST_F(Video, FindsFilesCutNearTheirEnd) {
  const VideoDecoder video = decoder({{"fps", 0.0}});
  for (const auto& [name, options] :
       {Format{"a.mkv", "-c:v libx264 -g 12"}, Format{"a.webm", "-c:v libvpx -b:v 1M"},
        Format{"a.wmv", "-c:v wmv2"}, Format{"a.gif", "-pix_fmt rgb8"},
        Format{"a.avi", "-c:v mjpeg -q:v 2"}}) {
    const std::string whole = content_of(write_video(name, 25, options));
    EXPECT_EQ(video.decode(folder_.file(name)).size(0), 25) << name;
    for (const size_t missing : {whole.size() * 6 / 10, whole.size() / 10, size_t{1}}) {
      if (missing == 1 && std::string(name) == "a.wmv") {
        continue;  // cuts an index that is not needed
      }
      const std::string path = folder_.write(name, whole.substr(0, whole.size() - missing));
      expect_data_error([&] { return video.decode(path); }, {path, "truncated: "});
    }
    // What else was put behind it is no matter.
    const std::string more = folder_.write(name, whole + std::string(100, '\0'));
    EXPECT_EQ(video.decode(more).size(0), 25) << name;
  }
  // Written to a pipe, it does not know how long it is.
  write_video("a.mkv", 25, "-c:v libx264");
  const std::string piped = folder_.file("piped.mkv");
  run(fmt::format("sh -c 'ffmpeg -i {} -c copy -f matroska - | cat > {}'", folder_.file("a.mkv"),
                  piped));
  EXPECT_EQ(video.decode(piped).size(0), 25);
}

TEST_F(Video, FindsAFlvCutInItsPicturesWhereSoundIsRead) {
  const std::string path = folder_.file("a.flv");
  run("ffmpeg -y -f lavfi -i testsrc=duration=6:size=96x64:rate=25 -f lavfi -i "
      "sine=frequency=440:duration=6 -c:v flv -c:a libmp3lame -ar 22050 " +
      path);
  EXPECT_GT(read_audio(path, 16000).size(0), 90000);
  const std::string whole = content_of(path);
  for (size_t missing = 1000; missing < whole.size() / 10; missing += 1000) {
    const std::string cut = folder_.write("cut.flv", whole.substr(0, whole.size() - missing));
    expect_data_error([&] { return read_audio(cut, 16000); }, {cut});
  }
}

TEST_F(Video, ReadsTrimmedClips) {
  // Cut without decoding: what is before the start stays in the file, hidden.
  const std::string whole = write_video("whole.mp4", 25, "-c:v libx264 -g 12 -bf 0");
  const std::string path = folder_.file("trimmed.mp4");
  run("ffmpeg -y -ss 0.7 -i " + whole + " -t 1 -c copy " + path);
  const auto numbers = numbers_of(decoder({{"fps", 0.0}}).decode(path));
  ASSERT_GE(numbers.size(), 10);
  EXPECT_EQ(numbers[0], 7);
  EXPECT_EQ(numbers[9], 16);
}

TEST_F(Video, TurnsFramesUprightAsFfmpegDoes) {
  run(
      fmt::format("ffmpeg -y -f lavfi -i testsrc2=size=64x48:rate=5:duration=1 -c:v libx264 -qp 0 "
                  "-pix_fmt yuv444p {}",
                  folder_.file("plain.mp4")));
  const std::string plain = content_of(folder_.file("plain.mp4"));
  // Where the unit to the right and the unit down are shown: right and down.
  struct Matrix {
    double right[2];
    double down[2];
  };
  const auto turned = [&](const Matrix& matrix) {
    const size_t place = plain.find("tkhd") + 44;
    std::string content = plain;
    const double numbers[] = {matrix.right[0], matrix.right[1], 0, matrix.down[0], matrix.down[1]};
    for (size_t i = 0; i < 5; ++i) {
      const auto fixed = static_cast<uint32_t>(static_cast<int32_t>(numbers[i] * 65536));
      for (size_t byte = 0; byte < 4; ++byte) {
        content[place + 4 * i + byte] = static_cast<char>(fixed >> (24 - 8 * byte));
      }
    }
    return folder_.write("turned.mp4", content);
  };
  for (const Matrix& matrix :
       {Matrix{{1, 0}, {0, 1}}, Matrix{{-1, 0}, {0, 1}}, Matrix{{1, 0}, {0, -1}},
        Matrix{{-1, 0}, {0, -1}}, Matrix{{0, 1}, {1, 0}}, Matrix{{0, -1}, {1, 0}},
        Matrix{{0, 1}, {-1, 0}}, Matrix{{0, -1}, {-1, 0}}}) {
    const std::string path = turned(matrix);
    const std::string name = fmt::format("({}, {}), ({}, {})", matrix.right[0], matrix.right[1],
                                         matrix.down[0], matrix.down[1]);
    run(fmt::format("ffmpeg -y -i {} -frames:v 1 -f rawvideo -pix_fmt rgb24 {}", path,
                    folder_.file("shown.rgb")));
    std::string shown = content_of(folder_.file("shown.rgb"));
    ASSERT_EQ(shown.size(), 64 * 48 * 3) << name;
    const bool exchanged = matrix.right[0] == 0;
    const torch::Tensor expected = torch::from_blob(
        shown.data(), {exchanged ? 64 : 48, exchanged ? 48 : 64, 3}, torch::kUInt8);
    const torch::Tensor frame = VideoFile(path).frames_at({0.0})[0];
    ASSERT_EQ(frame.sizes(), expected.sizes()) << name;
    const torch::Tensor difference = frame.to(torch::kFloat) - expected.to(torch::kFloat);
    EXPECT_LT(difference.abs().mean().item<double>(), 2.0) << name;
  }
  // Other turns are left alone.
  EXPECT_TRUE(
      torch::equal(VideoFile(turned({{0.7071, 0.7071}, {-0.7071, 0.7071}})).frames_at({0.0})[0],
                   VideoFile(folder_.file("plain.mp4")).frames_at({0.0})[0]));
}

TEST_F(Video, RefusesPicturesOfEndlessScans) {
  const std::string path = folder_.file("a.mjpeg");
  run(fmt::format("ffmpeg -y -f lavfi -i testsrc=size=32x32 -frames:v 1 {}", path));
  EXPECT_EQ(decoder({}).decode(path).size(0), 1);
  std::string scans;
  for (int i = 0; i < 600; ++i) {
    scans += "\xff\xda";
  }
  const std::string content = content_of(path);
  const std::string bomb =
      folder_.write("b.mjpeg", content.substr(0, content.size() - 2) + scans + "\xff\xd9");
  expect_data_error([&] { return decoder({}).decode(bomb); }, {bomb, "500 scans"});
}

TEST_F(Video, TakesASinglePictureAsItsOnlyFrame) {
  const std::string path = folder_.file("a.jpg");
  run(fmt::format("ffmpeg -y -f lavfi -i testsrc=size=64x32 -frames:v 1 {}", path));
  const VideoDecoder video = decoder({});
  EXPECT_TRUE(torch::equal(video.decode(path), read_image(path, 3).unsqueeze(0)));
  const std::string content = content_of(path);
  for (const char* name : {"cut.jpg", "cut.mp4"}) {
    const std::string cut = folder_.write(name, content.substr(0, content.size() / 2));
    expect_data_error([&] { return video.load(cut, {}); }, {cut});
  }
  // A film of them is one.
  const std::string film = folder_.file("film.mjpeg");
  run(fmt::format("ffmpeg -y -f lavfi -i testsrc=size=64x32:rate=10 -frames:v 5 {}", film));
  EXPECT_EQ(decoder({{"fps", 0.0}}).decode(film).size(0), 5);
}

TEST_F(Video, FindsCutsInFilesWithSoundToo) {
  for (const std::string output :
       {"a.mkv -c:v libx264 -c:a aac", "a.flv -c:v flv -c:a libmp3lame -ar 44100",
        "a.mp4 -c:v libx264 -c:a aac", "a.avi -c:v mpeg4 -c:a libmp3lame",
        "a.webm -c:v libvpx -c:a libvorbis"}) {
    const size_t space = output.find(' ');
    const std::string path = folder_.file(output.substr(0, space));
    run("ffmpeg -y -f lavfi -i testsrc=duration=2:size=64x64:rate=10 -f lavfi -i "
        "sine=frequency=1000:duration=2 " +
        output.substr(space) + " " + path);
    EXPECT_GE(decoder({{"fps", 0.0}}).decode(path).size(0), 20) << path;
    EXPECT_GT(read_audio(path, 16000).size(0), 30000) << path;
    const std::string content = content_of(path);
    const std::string half = folder_.write("half", content.substr(0, content.size() / 2));
    expect_data_error([&] { return decoder({{"fps", 0.0}}).decode(half); }, {half});
    expect_data_error([&] { return read_audio(half, 16000); }, {half});
  }
}

TEST_F(Video, OpensNoSockets) {
  const std::string path =
      folder_.write("a.sdp",
                    "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
                    "m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n");
  const auto start = std::chrono::steady_clock::now();
  expect_data_error([&] { return decoder({}).load(path, {}); }, {path, "expected a media file"});
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
}

TEST_F(Video, RefusesWhatIsNoVideo) {
  std::string noise(20000, '\0');
  for (size_t i = 0; i < noise.size(); ++i) {
    noise[i] = static_cast<char>(i * 7919 >> 3);
  }
  const VideoDecoder video = decoder({});
  const std::string secret = write_video("secret.mp4", 5, "-c:v libx264");
  for (const std::string& content :
       {noise, std::string("x"), std::string("RIFF"), "\x1a\x45\xdf\xa3" + noise,
        "FLV\x01\x01" + noise, std::string("ffconcat version 1.0\nfile secret.mp4\n"),
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n" + secret + "\n#EXT-X-ENDLIST\n"}) {
    const std::string path = folder_.write("noise.mp4", content);
    expect_data_error([&] { return video.load(path, {}); }, {path});
  }
  expect_data_error(
      [&] {
        return video.load(folder_.write("list.mp4", "ffconcat version 1.0\nfile secret.mp4\n"), {});
      },
      {"list.mp4", "expected a media file"});
  const std::string empty = folder_.write("empty.mp4", "");
  expect_data_error([&] { video.check(empty); }, {empty, "empty"});
}

TEST_F(Video, RefusesSoundWithoutPictures) {
  const std::string path = folder_.file("sound.mp4");
  run("ffmpeg -y -f lavfi -i sine=duration=1 " + path);
  expect_data_error([&] { return decoder({}).load(path, {}); }, {path, "expected a video stream"});
}

TEST_F(Video, GivesItsSoundTrackToAudio) {
  for (const std::string output : {"a.mp4 -c:a aac", "b.flv -c:a libmp3lame -ar 22050", "c.webm"}) {
    const std::string path = folder_.file(output.substr(0, output.find(' ')));
    const std::string options =
        output.find(' ') == std::string::npos ? "" : output.substr(output.find(' '));
    run("ffmpeg -y -f lavfi -i testsrc=duration=2:size=32x32 -f lavfi -i "
        "sine=frequency=1000:duration=2 " +
        options + " " + path);
    const torch::Tensor sound = read_audio(path, 16000);
    EXPECT_NEAR(static_cast<double>(sound.size(0)), 32000, 2500) << path;
    const torch::Tensor middle = sound.narrow(0, 8000, 16000);
    const torch::Tensor power = torch::fft_rfft(middle).abs();
    EXPECT_NEAR(static_cast<double>(power.argmax().item<int64_t>()), 1000, 2) << path;
  }
}

TEST_F(Video, RefusesMoreThanItsMemory) {
  const std::string path = folder_.file("large.mkv");
  run("ffmpeg -y -f lavfi -i color=s=1920x1080:d=20:r=10 -c:v libx264 -preset ultrafast " + path);
  expect_data_error(
      [&] {
        return decoder({{"fps", 0.0}}).decode(path);
      },
      {path, "a lower fps helps"});
  EXPECT_EQ(decoder({{"frames", int64_t{2}}}).load(path, {}).dim(), 4);
}

TEST(VideoSettings, AreChecked) {
  const auto message = [](const std::string& key, const decltype(Value::data)& value) {
    return message_of<RecipeError>([&] {
      Options options = options_of({{key, value}});
      VideoDecoder made(options);
    });
  };
  EXPECT_NE(message("frames", int64_t{0}).find("frames"), std::string::npos);
  EXPECT_NE(message("choice", std::string("last")).find("segment"), std::string::npos);
  EXPECT_NE(message("fps", -1.0).find("fps"), std::string::npos);
}

}  // namespace
}  // namespace unbraid
