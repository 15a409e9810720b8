#include "unbraid/media/sound.h"

#include <cmath>
#include <limits>
#include <numbers>

#include "media/sounds.h"
#include "unbraid/media/container.h"

namespace unbraid {
namespace {

using testing::content_of;
using testing::expect_data_error;
using testing::kFlac;
using testing::kFloatWav;
using testing::kOgg;
using testing::kWav;
using testing::message_of;
using testing::reference;
using testing::run;
using testing::sweep;
using testing::write_array;

std::vector<float> tone(double hertz, int rate, int frames, double amplitude = 0.5) {
  std::vector<float> samples(frames);
  for (int i = 0; i < frames; ++i) {
    samples[i] = static_cast<float>(amplitude * std::sin(2 * std::numbers::pi * hertz * i / rate));
  }
  return samples;
}

class Sound : public testing::SoundFiles {
 protected:
  std::string cut(const std::string& content, size_t bytes) {
    return folder_.write("cut", content.substr(0, bytes));
  }
};

TEST_F(Sound, ReadsTheMeanOfTheChannels) {
  const std::vector<float> stereo = {0.5F, -0.25F, 1.0F, 0.5F, -0.5F, -1.0F};
  const torch::Tensor mono = read_audio(write("a.wav", kFloatWav, 16000, 2, stereo), 16000);
  EXPECT_EQ(mono.dtype(), torch::kFloat);
  EXPECT_TRUE(torch::equal(mono, torch::tensor({0.125F, 0.75F, -0.75F})));
}

TEST_F(Sound, ReadsEveryFormatWhateverItsName) {
  const std::vector<float> samples = sweep(30000);
  const torch::Tensor expected = torch::tensor(samples);
  for (const auto& [format, tolerance] : {std::pair{kWav, 1e-4},
                                          {SF_FORMAT_WAV | SF_FORMAT_PCM_24, 1e-6},
                                          {kFlac, 1e-4},
                                          {SF_FORMAT_WAVEX | SF_FORMAT_PCM_16, 1e-4},
                                          {kOgg, 0.4}}) {
    const torch::Tensor read = read_audio(write("a.bin", format, 22050, 1, samples), 22050);
    ASSERT_EQ(read.sizes(), expected.sizes()) << format;
    EXPECT_LT((read - expected).abs().max().item<double>(), tolerance) << format;
  }
}

TEST_F(Sound, ResamplesATone) {
  for (const auto& [from, to] : {std::pair{44100, 16000}, {16000, 22050}, {48000, 16000}}) {
    const torch::Tensor read =
        read_audio(write("a.wav", kFloatWav, from, 1, tone(440, from, from)), to);
    ASSERT_EQ(read.size(0), to);
    const torch::Tensor expected = torch::tensor(tone(440, to, to));
    // Away from the ends, where the signal starts and stops abruptly.
    const torch::Tensor error = (read - expected).abs().narrow(0, to / 4, to / 2);
    EXPECT_LT(error.max().item<double>(), 1e-5) << from << " to " << to;
  }
}

TEST_F(Sound, ResamplingKeepsOutWhatTheNewRateCannotHold) {
  const torch::Tensor read =
      read_audio(write("a.wav", kFloatWav, 48000, 1, tone(11000, 48000, 48000)), 16000);
  EXPECT_LT(read.narrow(0, 4000, 8000).abs().max().item<double>(), 1e-4);
}

TEST_F(Sound, ReadsWhatLibsndfileOrFfmpegKnow) {
  for (const std::string& name :
       {std::string("a.mp3"), std::string("a.aiff"), std::string("a.m4a")}) {
    if (name == "a.m4a" && !container_support()) {
      continue;
    }
    const std::string path = folder_.file(name);
    run("ffmpeg -y -f lavfi -i sine=frequency=1000:duration=2 " + path);
    const torch::Tensor sound = read_audio(path, 16000);
    EXPECT_NEAR(static_cast<double>(sound.size(0)), 32000, 2500) << name;
    const torch::Tensor power = torch::fft_rfft(sound.narrow(0, 8000, 16000)).abs();
    EXPECT_NEAR(static_cast<double>(power.argmax().item<int64_t>()), 1000, 2) << name;
  }
}

TEST_F(Sound, ReadsCodecsThatLibsndfileDoesNotKnowInItsFormats) {
  if (!container_support()) {
    GTEST_SKIP() << "built without FFmpeg";
  }
  for (const std::string output :
       {"-c:a libmp3lame a.wav", "-c:a g722 -ar 16000 b.wav", "-c:a flac c.oga",
        "-f lavfi -i testsrc=duration=2:size=32x32 -c:v libtheora -c:a libvorbis d.ogv"}) {
    const size_t space = output.rfind(' ');
    const std::string path = folder_.file(output.substr(space + 1));
    run("ffmpeg -y -f lavfi -i sine=frequency=1000:duration=2 " + output.substr(0, space + 1) +
        path);
    const torch::Tensor sound = read_audio(path, 16000);
    EXPECT_NEAR(static_cast<double>(sound.size(0)), 32000, 1500) << output;
    const torch::Tensor power = torch::fft_rfft(sound.narrow(0, 8000, 16000)).abs();
    EXPECT_NEAR(static_cast<double>(power.argmax().item<int64_t>()), 1000, 2) << output;
    const std::string content = content_of(path);
    const std::string half = folder_.write("half", content.substr(0, content.size() / 2));
    expect_data_error([&] { return read_audio(half, 16000); }, {half});
  }
}

TEST_F(Sound, FindsDamagedAndCutMp3sWithoutChatter) {
  if (!container_support()) {
    GTEST_SKIP() << "libsndfile does not tell";
  }
  for (const std::string options : {"-b:a 64k", "-q:a 5"}) {
    const std::string path = folder_.file("a.mp3");
    run("ffmpeg -y -f lavfi -i sine=frequency=1000:duration=3 " + options + " " + path);
    const std::string whole = content_of(path);
    const torch::Tensor sound = read_audio(path, 44100);
    EXPECT_NEAR(static_cast<double>(sound.size(0)), 3 * 44100, 1152) << options;
    // Tags of two kinds at its end belong to it.
    const std::string tagged =
        folder_.write("tagged.mp3", whole + "APETAGEX" + std::string("\xd0\x07\0\0\x20\0\0\0", 8) +
                                        std::string(16, '\0') + "TAG" + std::string(125, ' '));
    EXPECT_TRUE(torch::equal(read_audio(tagged, 44100), sound)) << options;
    ::testing::internal::CaptureStderr();
    for (const double part : {0.1, 0.5, 0.9}) {
      const std::string half = cut(whole, static_cast<size_t>(part * whole.size()));
      expect_data_error([&] { read_audio(half, 44100); }, {half, "truncated"});
    }
    std::string damaged = whole;
    for (size_t i = damaged.size() / 2; i < damaged.size() * 3 / 4; ++i) {
      damaged[i] = static_cast<char>(i * 7919 >> 3);
    }
    const std::string other = folder_.write("damaged.mp3", damaged);
    expect_data_error([&] { read_audio(other, 44100); }, {other, "truncated"});
    EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
  }
}

TEST_F(Sound, ResamplesToTheSpectrumOfFouriersMethod) {
  // [1 s] of whole periods, so that Fourier's method is exact.
  const auto tones = [](int rate, const std::vector<double>& hertz) {
    std::vector<float> samples;
    for (int i = 0; i < rate; ++i) {
      double sum = 0;
      for (const double frequency : hertz) {
        sum += 0.1 * std::sin(2 * std::numbers::pi * frequency * i / rate);
      }
      samples.push_back(static_cast<float>(sum));
    }
    return samples;
  };
  const auto spectrum = [](const torch::Tensor& signal) {
    // Away from the ends, where the one sees silence and the other a repetition.
    const int64_t margin = signal.size(0) / 10;
    const torch::Tensor middle = signal.narrow(0, margin, signal.size(0) - 2 * margin);
    const torch::Tensor window = torch::hann_window(middle.size(0), torch::kDouble);
    return torch::fft_rfft(middle.to(torch::kDouble) * window).abs() * 2 / window.sum();
  };
  const std::vector<double> low = {300, 1000, 3100, 6500};
  for (const auto& [from, to] : {std::pair{16000, 22050}, {44100, 16000}, {48000, 22050}}) {
    const std::vector<float> samples = tones(from, low);
    const torch::Tensor found = read_audio(write("tones.wav", kFloatWav, from, 1, samples), to);
    ASSERT_EQ(found.size(0), to);
    const torch::Tensor expected =
        reference(folder_, "resampled", write_array(folder_.file("x.npy"), torch::tensor(samples)),
                  {std::to_string(to)});
    const torch::Tensor difference = (spectrum(found) - spectrum(expected)).abs();
    EXPECT_LT(difference.max().item<double>(), 1e-4) << from << " to " << to;  // 0.01 dB
    EXPECT_NEAR(spectrum(found).max().item<double>(), 0.1, 0.01);
  }
  // What the lower rate cannot hold is gone, not folded down.
  const torch::Tensor high =
      read_audio(write("high.wav", kFloatWav, 44100, 1, tones(44100, {9000, 15000})), 16000);
  EXPECT_LT(spectrum(high).max().item<double>(), 1e-5);
}

TEST_F(Sound, FindsEveryTruncation) {
  const std::vector<float> samples = sweep(60000);
  for (const int format : {kWav, kFloatWav, kFlac, kOgg, SF_FORMAT_WAVEX | SF_FORMAT_PCM_16}) {
    const std::string whole = content_of(write("whole", format, 22050, 1, samples));
    for (const double part : {0.0005, 0.002, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.999}) {
      const auto bytes = static_cast<size_t>(part * static_cast<double>(whole.size()));
      const std::string path = cut(whole, std::max<size_t>(bytes, 1));
      expect_data_error([&] { read_audio(path, 22050); }, {path});
    }
    const std::string path = cut(whole, whole.size() - 1);
    expect_data_error([&] { read_audio(path, 22050); }, {path, "truncated"});
  }
}

TEST_F(Sound, FindsACutWhereTheHeaderHasTheLength) {
  for (const int format : {SF_FORMAT_AIFF, SF_FORMAT_AU, SF_FORMAT_W64}) {
    const std::string whole =
        content_of(write("whole", format | SF_FORMAT_PCM_16, 22050, 1, sweep(22050)));
    EXPECT_EQ(read_audio(folder_.write("good", whole), 22050).size(0), 22050) << format;
    for (const double part : {0.5, 0.9, 0.99}) {
      const auto bytes = static_cast<size_t>(part * static_cast<double>(whole.size()));
      const std::string path = cut(whole, bytes);
      expect_data_error([&] { read_audio(path, 22050); }, {path, "truncated"});
    }
  }
}

TEST_F(Sound, FindsAnOggCutBetweenItsPages) {
  const std::string whole = content_of(write("whole", kOgg, 22050, 1, sweep(200000)));
  const std::string path = cut(whole, whole.rfind("OggS"));
  expect_data_error([&] { read_audio(path, 22050); }, {path, "truncated"});
}

TEST_F(Sound, FindsAFlacCutBetweenItsFrames) {
  const std::string whole = content_of(write("whole", kFlac, 22050, 1, sweep(60000)));
  const std::string path = cut(whole, whole.rfind("\xff\xf8"));
  expect_data_error([&] { read_audio(path, 22050); }, {path, "truncated"});
}

TEST_F(Sound, FindsACutInAFlacThatDoesNotSayItsLength) {
  std::string whole = content_of(write("whole", kFlac, 22050, 1, sweep(60000)));
  whole[21] &= '\xf0';
  whole.replace(22, 4, 4, '\0');
  EXPECT_EQ(read_audio(folder_.write("piped", whole), 22050).size(0), 60000);
  const std::string path = cut(whole, whole.size() / 2);
  expect_data_error([&] { read_audio(path, 22050); }, {path, "damaged or truncated"});
}

TEST_F(Sound, SaysWhereATruncatedWavEnds) {
  const std::string whole = content_of(write("whole", kWav, 22050, 1, sweep(1000)));
  const std::string path = cut(whole, 1000);
  EXPECT_EQ(message_of<DataError>([&] { read_audio(path, 22050); }),
            path + ": truncated: the sound in its header ends at byte 2044, the file has 1000");
}

TEST_F(Sound, GivesUpOnAWavOfEndlessEmptyChunks) {
  const std::string path = folder_.write("chunks", std::string("RIFF\xff\xff\xff\x7fWAVE", 12));
  std::filesystem::resize_file(path, uint64_t{1} << 40);  // sparse
  expect_data_error([&] { read_audio(path, 22050); }, {path});
}

TEST_F(Sound, ReadsAWavThatWasWrittenToAPipe) {
  const std::vector<float> samples = sweep(1000);
  std::string content = content_of(write("whole", kFloatWav, 22050, 1, samples));
  const size_t data = content.find("data");
  content.replace(4, 4, "\xff\xff\xff\xff").replace(data + 4, 4, "\xff\xff\xff\xff");
  const torch::Tensor read = read_audio(folder_.write("piped", content), 22050);
  EXPECT_TRUE(torch::equal(read, torch::tensor(samples)));
}

TEST_F(Sound, ReadsAWavWithAnOddChunkBeforeTheSound) {
  const std::vector<float> samples = sweep(1000);
  std::string content = content_of(write("whole", kWav, 22050, 1, samples));
  content.insert(content.find("data"), std::string("note\x03\0\0\0abc\0", 12));
  content[4] += 12;
  EXPECT_EQ(read_audio(folder_.write("odd", content), 22050).size(0), 1000);
  const std::string path = cut(content, 2000);
  expect_data_error([&] { read_audio(path, 22050); },
                    {"the sound in its header ends at byte 2056"});
}

TEST_F(Sound, RefusesWhatIsNotSound) {
  std::string noise(5000, '\0');
  for (size_t i = 0; i < noise.size(); ++i) {
    noise[i] = static_cast<char>(i * 7919 >> 3);
  }
  for (const std::string& content :
       {noise, std::string("x"), std::string("RIFF"), std::string("RIFF\x04\0\0\0WAVE", 12),
        "OggS" + noise, "fLaC" + noise, "RIFF" + noise.substr(0, 4) + "WAVE" + noise}) {
    const std::string path = folder_.write("noise.wav", content);
    expect_data_error([&] { read_audio(path, 22050); }, {path});
  }
  const std::string empty = folder_.write("empty.wav", "");
  expect_data_error([&] { read_audio(empty, 22050); }, {empty, "the file is empty"});
}

TEST_F(Sound, RefusesASoundWithoutSamples) {
  for (const int format : {kWav, kFlac, kOgg}) {
    const std::string path = write("none", format, 22050, 1, {});
    expect_data_error([&] { read_audio(path, 22050); }, {path});
  }
}

TEST_F(Sound, RefusesAbsurdHeaders) {
  const std::string whole = content_of(write("whole", kWav, 22050, 1, sweep(1000)));
  const auto patched = [&](size_t offset, const std::string& bytes) {
    return folder_.write("patched", std::string(whole).replace(offset, bytes.size(), bytes));
  };
  const auto read = [](const std::string& path) { return [path] { read_audio(path, 22050); }; };
  expect_data_error(read(patched(24, std::string("\x01\0\0\0", 4))), {"sample rate", "says 1"});
  expect_data_error(read(patched(24, "\xff\xff\xff\x7f")), {"sample rate", "2147483647"});
  expect_data_error(read(patched(24, std::string(4, '\0'))), {"patched"});
  expect_data_error(read(patched(22, "\xff\xff")), {"patched"});
  expect_data_error(read(patched(22, std::string("\x80\0", 2))), {"patched"});
  expect_data_error(read(patched(22, std::string(2, '\0'))), {"patched"});
  expect_data_error(read(patched(32, std::string(2, '\0'))), {"patched", "says 0 and 16"});
  expect_data_error(read(patched(34, std::string("\x07\0", 2))), {"patched", "says 2 and 7"});
}

TEST_F(Sound, RefusesSamplesThatAreNotFinite) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    const std::string path = write("bad.wav", kFloatWav, 22050, 1, {0.0F, 0.5F, bad, 0.0F});
    expect_data_error([&] { read_audio(path, 22050); }, {path, "finite", "frame 2"});
  }
}

TEST_F(Sound, RefusesMoreThanTenMinutes) {
  const std::string path =
      write("long.flac", kFlac, 1000, 1, std::vector<float>(600 * 1000 + 5000));
  expect_data_error([&] { read_audio(path, 1000); }, {path, "at most 600 seconds"});
}

}  // namespace
}  // namespace unbraid
