#include "unbraid/media/audio.h"

#include <sys/stat.h>

#include <cmath>
#include <complex>
#include <limits>
#include <numbers>
#include <set>
#include <tuple>

#include "media/reference.h"

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
using testing::write_sound;

constexpr int kWav = SF_FORMAT_WAV | SF_FORMAT_PCM_16;
constexpr int kFloatWav = SF_FORMAT_WAV | SF_FORMAT_FLOAT;
constexpr int kFlac = SF_FORMAT_FLAC | SF_FORMAT_PCM_16;
constexpr int kOgg = SF_FORMAT_OGG | SF_FORMAT_VORBIS;
constexpr double kPi = std::numbers::pi;

std::vector<float> tone(double hertz, int rate, int frames, double amplitude = 0.5) {
  std::vector<float> samples(frames);
  for (int i = 0; i < frames; ++i) {
    samples[i] = static_cast<float>(amplitude * std::sin(2 * kPi * hertz * i / rate));
  }
  return samples;
}

// A sweep, so that packed formats have something to write.
std::vector<float> sweep(int frames) {
  std::vector<float> samples(frames);
  for (int i = 0; i < frames; ++i) {
    samples[i] = static_cast<float>(0.4 * std::sin(0.05 * i) + 0.3 * std::sin(2e-4 * i * i));
  }
  return samples;
}

class Audio : public ::testing::Test {
 protected:
  std::string write(const std::string& name, int format, int rate, int channels,
                    const std::vector<float>& samples) {
    return write_sound(folder_.file(name), format, rate, channels, samples);
  }
  std::string cut(const std::string& content, size_t bytes) {
    return folder_.write("cut", content.substr(0, bytes));
  }

  TemporaryFolder folder_;
};

TEST_F(Audio, ReadsTheMeanOfTheChannels) {
  const std::vector<float> stereo = {0.5F, -0.25F, 1.0F, 0.5F, -0.5F, -1.0F};
  const torch::Tensor mono = read_audio(write("a.wav", kFloatWav, 16000, 2, stereo), 16000);
  EXPECT_EQ(mono.dtype(), torch::kFloat);
  EXPECT_TRUE(torch::equal(mono, torch::tensor({0.125F, 0.75F, -0.75F})));
}

TEST_F(Audio, ReadsEveryFormatWhateverItsName) {
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

TEST_F(Audio, ResamplesATone) {
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

TEST_F(Audio, ResamplingKeepsOutWhatTheNewRateCannotHold) {
  const torch::Tensor read =
      read_audio(write("a.wav", kFloatWav, 48000, 1, tone(11000, 48000, 48000)), 16000);
  EXPECT_LT(read.narrow(0, 4000, 8000).abs().max().item<double>(), 1e-4);
}

// Frame by frame in double precision, with the padding spelled out.
std::vector<double> naive_spectrogram(const std::vector<double>& signal, int n_fft, int hop,
                                      bool reflect, double offset) {
  const int length = static_cast<int>(signal.size());
  const int frames = 1 + length / hop;
  const auto sample = [&](int i) {
    if (i >= 0 && i < length) {
      return signal[i];
    }
    return !reflect ? 0.0 : signal[i < 0 ? -i : 2 * (length - 1) - i];
  };
  std::vector<double> values;
  for (int bin = 0; bin <= n_fft / 2; ++bin) {
    for (int frame = 0; frame < frames; ++frame) {
      std::complex<double> sum = 0;
      for (int i = 0; i < n_fft; ++i) {
        const double window = 0.5 - 0.5 * std::cos(2 * kPi * i / n_fft);
        sum += window * sample(frame * hop + i - n_fft / 2) *
               std::polar(1.0, -2 * kPi * bin * i / n_fft);
      }
      values.push_back(std::log(std::abs(sum) + offset));
    }
  }
  return values;
}

TEST_F(Audio, SpectrogramMatchesADiscreteFourierTransform) {
  // Powers of two go eight frames at a time, other sizes through LibTorch.
  for (const auto& [pad, n_fft] : {std::pair<const char*, int>{"reflect", 64},
                                   {"zeros", 64},
                                   {"reflect", 8},
                                   {"zeros", 16},
                                   {"zeros", 60}}) {
    Options options = options_of({{"sample_rate", int64_t{1000}},
                                  {"seconds", 0.3},
                                  {"n_fft", int64_t{n_fft}},
                                  {"hop", int64_t{21}},
                                  {"pad_mode", std::string(pad)},
                                  {"log_offset", 1e-3}});
    const AudioDecoder decoder(options);
    options.finish();
    std::vector<double> signal(300);
    std::vector<float> clip(130);
    for (int i = 0; i < 300; ++i) {  // the clip repeated, and clipped to [-1, 1]
      const int j = i % 130;
      clip[j] = static_cast<float>(0.9 * std::sin(0.3 * j) + 0.4 * std::cos(0.011 * j * j));
      signal[i] = std::clamp(double{clip[j]}, -1.0, 1.0);
    }
    const torch::Tensor features = decoder.transform(torch::tensor(clip), {});
    ASSERT_EQ(features.sizes(), torch::IntArrayRef({1, n_fft / 2 + 1, 15}));
    EXPECT_EQ(features.dtype(), torch::kFloat);
    const std::vector<double> expected =
        naive_spectrogram(signal, n_fft, 21, std::string(pad) == "reflect", 1e-3);
    const torch::Tensor difference =
        features.flatten().to(torch::kDouble) - torch::tensor(expected, torch::kDouble);
    EXPECT_LT(difference.abs().max().item<double>(), 2e-4) << pad << n_fft;
  }
}

TEST_F(Audio, SettingsOfTheDataSetsGiveTheirSizes) {
  Options crema_d = options_of({});
  EXPECT_EQ(AudioDecoder(crema_d).transform(torch::rand({50000}), {}).sizes(),
            torch::IntArrayRef({1, 257, 188}));
  Options sounds = options_of({{"sample_rate", int64_t{16000}},
                               {"seconds", 5.0},
                               {"n_fft", int64_t{256}},
                               {"hop", int64_t{128}}});
  EXPECT_EQ(AudioDecoder(sounds).transform(torch::rand({16000}), {}).sizes(),
            torch::IntArrayRef({1, 129, 626}));
}

// A sweep in noise, so that no bin holds rounding errors alone, whose logarithm is arbitrary.
torch::Tensor noisy_sweep(int frames) {
  std::vector<float> samples = sweep(frames);
  RandomStream random(1);
  for (float& sample : samples) {
    sample += static_cast<float>(0.02 * random.normal());
  }
  return torch::tensor(samples).clamp(-1.0, 1.0);
}

TEST_F(Audio, SpectrogramsOfTheDataSetsEqualNumPys) {
  // CREMA-D's and Kinetics-Sounds' settings.
  for (const auto& [rate, seconds, n_fft, hop, pad] :
       {std::tuple{22050, 3.0, 512, 353, "reflect"}, {16000, 5.0, 256, 128, "zeros"}}) {
    Options options = options_of({{"sample_rate", int64_t{rate}},
                                  {"seconds", seconds},
                                  {"n_fft", int64_t{n_fft}},
                                  {"hop", int64_t{hop}},
                                  {"pad_mode", std::string(pad)}});
    const torch::Tensor signal = noisy_sweep(static_cast<int>(seconds * rate));
    const torch::Tensor features = AudioDecoder(options).transform(signal, {});
    const torch::Tensor expected =
        reference(folder_, "spectrogram", write_array(folder_.file("signal.npy"), signal),
                  {fmt::format("{}", n_fft), fmt::format("{}", hop), pad, "1e-7"});
    ASSERT_EQ(features[0].sizes(), expected.sizes());
    const torch::Tensor error = (features[0] - expected).abs();
    EXPECT_LT(error.mean().item<double>(), 1e-5);
    EXPECT_GT((error < 1e-4).to(torch::kFloat).mean().item<double>(), 0.999);
    // A bin that happens to be all but silent.
    EXPECT_LT((features[0].exp() - expected.exp()).abs().max().item<double>(), 1e-4);
  }
}

TEST_F(Audio, FilterBankEqualsNumPys) {
  const torch::Tensor signal = (noisy_sweep(16000) + 0.1).clamp(-1, 1);
  Options options = options_of({{"sample_rate", int64_t{16000}},
                                {"seconds", 1.0},
                                {"features", std::string("fbank")},
                                {"frames", int64_t{120}},
                                {"normalize", std::string("fixed")},
                                {"mean", -4.503877},
                                {"std", 10.282552}});
  const torch::Tensor features = AudioDecoder(options).transform(signal, {});
  options.finish();
  ASSERT_EQ(features.sizes(), torch::IntArrayRef({1, 120, 128}));
  const torch::Tensor expected = reference(
      folder_, "fbank", write_array(folder_.file("signal.npy"), signal), {"16000", "128"});
  ASSERT_EQ(expected.sizes(), torch::IntArrayRef({98, 128}));
  const torch::Tensor raw = features[0] * 10.282552 - 4.503877;
  EXPECT_LT((raw.narrow(0, 0, 98) - expected).abs().max().item<double>(), 1e-4);
  EXPECT_LT(raw.narrow(0, 98, 22).abs().max().item<double>(), 1e-5);  // padded with zeros
}

TEST_F(Audio, TakesAnExcerptOfALongerPart) {
  const auto decoder = [](const std::string& start, const std::string& fill, double excerpt) {
    Options options = options_of({{"sample_rate", int64_t{1000}},
                                  {"seconds", 0.5},
                                  {"excerpt_seconds", excerpt},
                                  {"start", start},
                                  {"fill", fill},
                                  {"n_fft", int64_t{64}},
                                  {"hop", int64_t{32}}});
    return AudioDecoder(options);
  };
  const torch::Tensor clip = torch::tensor(sweep(2000));
  const auto features = [&](const torch::Tensor& part) {
    return decoder("first", "tile", 0.5).transform(part, {});
  };
  const auto at = [&](int64_t start) { return features(clip.narrow(0, start, 500)); };
  EXPECT_TRUE(torch::equal(decoder("first", "tile", 1.0).transform(clip, {}), at(0)));
  EXPECT_TRUE(torch::equal(decoder("centre", "tile", 1.0).transform(clip, {}), at(250)));
  EXPECT_TRUE(torch::equal(decoder("centre", "tile", 0.0).transform(clip, {}), at(750)));
  // A start of its own in each epoch, inside the excerpt; the centre outside of training.
  const AudioDecoder random = decoder("random", "tile", 1.0);
  EXPECT_TRUE(torch::equal(random.transform(clip, {.id = "a"}), at(250)));
  const torch::Tensor first = random.transform(clip, {.epoch = 1, .id = "a", .training = true});
  EXPECT_TRUE(
      torch::equal(first, random.transform(clip, {.epoch = 1, .id = "a", .training = true})));
  EXPECT_FALSE(
      torch::equal(first, random.transform(clip, {.epoch = 2, .id = "a", .training = true})));
  EXPECT_TRUE(torch::equal(
      first, random.transform(clip.narrow(0, 0, 1000), {.epoch = 1, .id = "a", .training = true})));
  // Too short: repeated, or followed by silence.
  const torch::Tensor piece = clip.narrow(0, 0, 300);
  EXPECT_TRUE(torch::equal(decoder("first", "silence", 0.5).transform(piece, {}),
                           features(torch::cat({piece, torch::zeros({200})}))));
  EXPECT_TRUE(torch::equal(decoder("centre", "tile", 1.0).transform(piece, {}),
                           features(piece.repeat({4}).narrow(0, 250, 500))));
}

TEST_F(Audio, MasksBandsInTrainingOnly) {
  Options options = options_of({{"sample_rate", int64_t{1000}},
                                {"seconds", 0.5},
                                {"n_fft", int64_t{64}},
                                {"hop", int64_t{8}},
                                {"time_mask", int64_t{20}},
                                {"frequency_mask", int64_t{10}}});
  const AudioDecoder decoder(options);
  const torch::Tensor clip = torch::tensor(sweep(500));
  const torch::Tensor plain = decoder.transform(clip, {.id = "a"});
  std::set<int64_t> frames;
  std::set<int64_t> bins;
  for (uint64_t epoch = 0; epoch < 40; ++epoch) {
    const torch::Tensor masked =
        decoder.transform(clip, {.epoch = epoch, .id = "a", .training = true});
    const torch::Tensor changed = (masked != plain)[0];
    frames.insert(changed.all(0).sum().item<int64_t>());
    bins.insert(changed.all(1).sum().item<int64_t>());
    if (changed.any().item<bool>()) {
      const torch::Tensor values = masked[0].index({changed});
      EXPECT_TRUE((values == values[0]).all().item<bool>());
      EXPECT_NEAR(values[0].item<double>(), plain.mean().item<double>(), 1e-5);
    }
  }
  EXPECT_GT(frames.size(), 5);
  EXPECT_LE(*frames.rbegin(), 20);
  EXPECT_GT(bins.size(), 4);
  EXPECT_LE(*bins.rbegin(), 10);
}

TEST_F(Audio, ReadsWhatLibsndfileOrFfmpegKnow) {
  for (const char* name : {"a.mp3", "a.aiff", "a.m4a"}) {
    const std::string path = folder_.file(name);
    run("ffmpeg -y -f lavfi -i sine=frequency=1000:duration=2 " + path);
    const torch::Tensor sound = read_audio(path, 16000);
    EXPECT_NEAR(static_cast<double>(sound.size(0)), 32000, 2500) << name;
    const torch::Tensor power = torch::fft_rfft(sound.narrow(0, 8000, 16000)).abs();
    EXPECT_NEAR(static_cast<double>(power.argmax().item<int64_t>()), 1000, 2) << name;
  }
}

TEST_F(Audio, CutsALongClipAndRepeatsAShortOne) {
  Options options = options_of({{"sample_rate", int64_t{1000}},
                                {"seconds", 0.5},
                                {"n_fft", int64_t{64}},
                                {"hop", int64_t{32}}});
  const AudioDecoder decoder(options);
  const torch::Tensor clip = torch::tensor(sweep(700));
  EXPECT_TRUE(
      torch::equal(decoder.transform(clip, {}), decoder.transform(clip.narrow(0, 0, 500), {})));
  const torch::Tensor piece = clip.narrow(0, 0, 200);
  EXPECT_TRUE(torch::equal(decoder.transform(piece, {}),
                           decoder.transform(piece.repeat({3}).narrow(0, 0, 500), {})));
}

TEST_F(Audio, NormalizesASample) {
  Options options = options_of({{"normalize", std::string("sample")}});
  const AudioDecoder decoder(options);
  const torch::Tensor features = decoder.transform(torch::tensor(sweep(60000)), {});
  EXPECT_NEAR(features.mean().item<double>(), 0.0, 1e-5);
  EXPECT_NEAR(features.std(false).item<double>(), 1.0, 1e-5);
  EXPECT_TRUE(
      torch::equal(decoder.transform(torch::zeros({100}), {}), torch::zeros({1, 257, 188})));
}

TEST_F(Audio, CacheKeySeesWhatDecodingDependsOn) {
  const std::string path = write("a.wav", kWav, 22050, 1, sweep(4000));
  const auto key = [&](std::vector<std::pair<std::string, decltype(Value::data)>> entries) {
    Options options = options_of(entries);
    return AudioDecoder(options).cache_key(path);
  };
  const std::string plain = key({});
  EXPECT_EQ(plain, key({{"normalize", std::string("sample")}, {"time_mask", int64_t{8}}}));
  std::set<std::string> keys = {plain};
  for (const auto& [name, value] : std::vector<std::pair<std::string, decltype(Value::data)>>{
           {"sample_rate", int64_t{16000}},
           {"seconds", 2.0},
           {"excerpt_seconds", 4.0},
           {"fill", std::string("silence")},
           {"start", std::string("centre")},
           {"start", std::string("random")},
           {"n_fft", int64_t{256}},
           {"hop", int64_t{100}},
           {"pad_mode", std::string("zeros")},
           {"log_offset", 1e-6},
           {"features", std::string("fbank")}}) {
    EXPECT_TRUE(keys.insert(key({{name, value}})).second) << name;
  }
  for (const auto& [name, value] :
       std::vector<std::pair<std::string, decltype(Value::data)>>{{"mels", int64_t{64}},
                                                                  {"frame_ms", 20.0},
                                                                  {"shift_ms", 20.0},
                                                                  {"low_hz", 50.0},
                                                                  {"high_hz", 5000.0},
                                                                  {"frames", int64_t{64}}}) {
    EXPECT_TRUE(keys.insert(key({{"features", std::string("fbank")}, {name, value}})).second)
        << name;
  }
  // An excerpt that is drawn anew each time is cut from a waveform, whatever comes after.
  EXPECT_EQ(key({{"start", std::string("random")}, {"seconds", 2.0}}),
            key({{"start", std::string("random")}, {"n_fft", int64_t{256}}}));
}

TEST_F(Audio, DecodesThenTransforms) {
  const std::string path = write("a.flac", kFlac, 44100, 2, sweep(44100));
  Options options = options_of({});
  const AudioDecoder decoder(options);
  EXPECT_NO_THROW(decoder.check(path));
  const torch::Tensor features = decoder.decode(path);
  EXPECT_EQ(features.sizes(), torch::IntArrayRef({1, 257, 188}));
  EXPECT_TRUE(torch::equal(features, decoder.transform(read_audio(path, 22050), {})));
  EXPECT_TRUE(torch::equal(features, decoder.transform(features, {.id = "a", .training = true})));
  EXPECT_TRUE(torch::isfinite(features).all().item<bool>());
  Options drawn = options_of({{"start", std::string("random")}});
  EXPECT_EQ(AudioDecoder(drawn).decode(path).sizes(), torch::IntArrayRef({11025}));
}

TEST_F(Audio, ResamplesToTheSpectrumOfFouriersMethod) {
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

TEST_F(Audio, FindsEveryTruncation) {
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

TEST_F(Audio, FindsAnOggCutBetweenItsPages) {
  const std::string whole = content_of(write("whole", kOgg, 22050, 1, sweep(200000)));
  const std::string path = cut(whole, whole.rfind("OggS"));
  expect_data_error([&] { read_audio(path, 22050); }, {path, "truncated"});
}

TEST_F(Audio, FindsAFlacCutBetweenItsFrames) {
  const std::string whole = content_of(write("whole", kFlac, 22050, 1, sweep(60000)));
  const std::string path = cut(whole, whole.rfind("\xff\xf8"));
  expect_data_error([&] { read_audio(path, 22050); }, {path, "truncated"});
}

TEST_F(Audio, FindsACutInAFlacThatDoesNotSayItsLength) {
  std::string whole = content_of(write("whole", kFlac, 22050, 1, sweep(60000)));
  whole[21] &= '\xf0';
  whole.replace(22, 4, 4, '\0');
  EXPECT_EQ(read_audio(folder_.write("piped", whole), 22050).size(0), 60000);
  const std::string path = cut(whole, whole.size() / 2);
  expect_data_error([&] { read_audio(path, 22050); }, {path, "damaged or truncated"});
}

TEST_F(Audio, SaysWhereATruncatedWavEnds) {
  const std::string whole = content_of(write("whole", kWav, 22050, 1, sweep(1000)));
  const std::string path = cut(whole, 1000);
  EXPECT_EQ(message_of<DataError>([&] { read_audio(path, 22050); }),
            path + ": truncated: the sound in its header ends at byte 2044, the file has 1000");
}

TEST_F(Audio, GivesUpOnAWavOfEndlessEmptyChunks) {
  const std::string path = folder_.write("chunks", std::string("RIFF\xff\xff\xff\x7fWAVE", 12));
  std::filesystem::resize_file(path, uint64_t{1} << 40);  // sparse
  expect_data_error([&] { read_audio(path, 22050); }, {path});
}

TEST_F(Audio, ReadsAWavThatWasWrittenToAPipe) {
  const std::vector<float> samples = sweep(1000);
  std::string content = content_of(write("whole", kFloatWav, 22050, 1, samples));
  const size_t data = content.find("data");
  content.replace(4, 4, "\xff\xff\xff\xff").replace(data + 4, 4, "\xff\xff\xff\xff");
  const torch::Tensor read = read_audio(folder_.write("piped", content), 22050);
  EXPECT_TRUE(torch::equal(read, torch::tensor(samples)));
}

TEST_F(Audio, ReadsAWavWithAnOddChunkBeforeTheSound) {
  const std::vector<float> samples = sweep(1000);
  std::string content = content_of(write("whole", kWav, 22050, 1, samples));
  content.insert(content.find("data"), std::string("note\x03\0\0\0abc\0", 12));
  content[4] += 12;
  EXPECT_EQ(read_audio(folder_.write("odd", content), 22050).size(0), 1000);
  const std::string path = cut(content, 2000);
  expect_data_error([&] { read_audio(path, 22050); },
                    {"the sound in its header ends at byte 2056"});
}

TEST_F(Audio, RefusesWhatIsNotSound) {
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

TEST_F(Audio, RefusesASoundWithoutSamples) {
  for (const int format : {kWav, kFlac, kOgg}) {
    const std::string path = write("none", format, 22050, 1, {});
    expect_data_error([&] { read_audio(path, 22050); }, {path});
  }
}

TEST_F(Audio, RefusesAbsurdHeaders) {
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
}

TEST_F(Audio, RefusesSamplesThatAreNotFinite) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    const std::string path = write("bad.wav", kFloatWav, 22050, 1, {0.0F, 0.5F, bad, 0.0F});
    expect_data_error([&] { read_audio(path, 22050); }, {path, "finite", "frame 2"});
  }
}

TEST_F(Audio, RefusesMoreThanTenMinutes) {
  const std::string path =
      write("long.flac", kFlac, 1000, 1, std::vector<float>(600 * 1000 + 5000));
  expect_data_error([&] { read_audio(path, 1000); }, {path, "at most 600 seconds"});
}

TEST_F(Audio, OpensRegularFilesOnly) {
  const std::string fifo = folder_.file("fifo");
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  const std::string folder = folder_.file("");
  Options options = options_of({});
  const AudioDecoder decoder(options);
  for (const std::string& path : {fifo, folder, folder_.file("missing.wav")}) {
    expect_data_error([&] { decoder.check(path); }, {path});
    expect_data_error([&] { return decoder.decode(path); }, {path});
  }
}

TEST_F(Audio, RefusesSettingsWithoutASpectrogram) {
  const auto build = [](const std::string& key, decltype(Value::data) value) {
    return [key, value] {
      Options options = options_of({{key, value}});
      AudioDecoder decoder(options);
    };
  };
  EXPECT_NE(message_of<RecipeError>(build("seconds", 0.01)).find("at least the 257 samples"),
            std::string::npos);
  message_of<RecipeError>(build("seconds", 0.0));
  message_of<RecipeError>(build("hop", int64_t{0}));
  message_of<RecipeError>(build("n_fft", int64_t{1}));
  message_of<RecipeError>(build("sample_rate", int64_t{0}));
  message_of<RecipeError>(build("log_offset", 0.0));
  message_of<RecipeError>(build("pad_mode", std::string("mirror")));
  message_of<RecipeError>(build("window", std::string("boxcar")));
  message_of<RecipeError>(build("excerpt_seconds", 1.0));
  message_of<RecipeError>(build("fill", std::string("noise")));
  message_of<RecipeError>(build("start", std::string("last")));
  message_of<RecipeError>(build("features", std::string("mfcc")));
}

}  // namespace
}  // namespace unbraid
