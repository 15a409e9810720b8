#include "unbraid/media/audio.h"

#include <sys/stat.h>

#include <cmath>
#include <complex>
#include <numbers>
#include <set>
#include <tuple>

#include "media/sounds.h"
#include "unbraid/media/sound.h"

namespace unbraid {
namespace {

using testing::expect_data_error;
using testing::kFlac;
using testing::kWav;
using testing::message_of;
using testing::options_of;
using testing::reference;
using testing::sweep;
using testing::write_array;

constexpr double kPi = std::numbers::pi;

class Audio : public testing::SoundFiles {};

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
