#include "unbraid/data/avdigits_audio.h"

#include <sndfile.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <numbers>
#include <system_error>

#include "unbraid/core/error.h"
#include "unbraid/data/avdigits_speech.h"

namespace unbraid::avdigits {
namespace {

using Signal = std::vector<float>;

// `offset` lies within `to`.
void add(Signal& to, const Signal& from, size_t offset, double gain) {
  const size_t count = std::min(from.size(), to.size() - offset);
  const auto factor = static_cast<float>(gain);
  for (size_t i = 0; i < count; ++i) {
    to[offset + i] += factor * from[i];
  }
}

double root_mean_square(const Signal& signal) {
  double energy = 0;
  for (const float sample : signal) {
    energy += static_cast<double>(sample) * sample;
  }
  return std::sqrt(energy / static_cast<double>(signal.size()));
}

double amplitude_of(double decibels) { return std::pow(10.0, decibels / 20.0); }

// The direct sound and a tail of exponentially decaying noise.
Signal reverberated(const Signal& dry, double difficulty, RandomStream& random) {
  const double decay_seconds = random.uniform(0.03, 0.25);  // by 60 dB
  const double level = difficulty * random.uniform(0.0, 0.3);
  const auto taps = static_cast<size_t>(decay_seconds * kSampleRate);
  Signal response(taps);
  for (size_t i = 0; i < taps; ++i) {
    const double fade = std::exp(-6.9 * static_cast<double>(i) / static_cast<double>(taps));
    response[i] = static_cast<float>(fade * random.normal());
  }
  const double gain = level / (root_mean_square(response) * std::sqrt(static_cast<double>(taps)));
  Signal wet = dry;
  for (size_t i = 0; i < taps && gain > 0; ++i) {
    add(wet, dry, i, gain * response[i]);
  }
  return wet;
}

// A second-order Butterworth filter, low-pass or high-pass.
void filter(Signal& signal, double cutoff_hz, bool low_pass) {
  const double warped = std::tan(std::numbers::pi * cutoff_hz / kSampleRate);
  const double norm = 1.0 / (1.0 + std::numbers::sqrt2 * warped + warped * warped);
  const double b0 = (low_pass ? warped * warped : 1.0) * norm;
  const double b1 = (low_pass ? 2.0 : -2.0) * b0;
  const double a1 = 2.0 * (warped * warped - 1.0) * norm;
  const double a2 = (1.0 - std::numbers::sqrt2 * warped + warped * warped) * norm;
  double state1 = 0;
  double state2 = 0;
  for (float& sample : signal) {
    const double in = sample;
    const double out = b0 * in + state1;
    state1 = b1 * in - a1 * out + state2;
    state2 = b0 * in - a2 * out;
    sample = static_cast<float>(out);
  }
}

// A telephone to a good microphone: what is left of the band shrinks with the difficulty.
void pass_channel(Signal& signal, double difficulty, RandomStream& random) {
  const double width = std::min(difficulty, 1.5);
  const double low = 40.0 + width * random.uniform(0.0, 150.0);
  const double high = 3900.0 - width * random.uniform(0.0, 800.0);
  filter(signal, low, false);
  filter(signal, high, true);
}

// White to brown noise of unit root mean square.
Signal noise(RandomStream& random) {
  Signal result(kClipSamples);
  const double memory = random.uniform(0.0, 0.98);
  double state = 0;
  for (float& sample : result) {
    state = memory * state + random.normal();
    sample = static_cast<float>(state);
  }
  const double level = root_mean_square(result);
  for (float& sample : result) {
    sample = static_cast<float>(sample / level);
  }
  return result;
}

}  // namespace

std::vector<float> record(const std::vector<float>& speech,
                          const std::vector<std::vector<float>>& chatter, double difficulty,
                          RandomStream& random) {
  Signal clip(kClipSamples);
  const size_t length = std::min(speech.size(), kClipSamples);
  add(clip, speech, random.below(kClipSamples - length + 1), 1.0);
  clip = reverberated(clip, difficulty, random);

  constexpr int kTalkers = 3;
  const double chatter_level = difficulty * amplitude_of(random.uniform(-34.0, -18.0));
  for (int talker = 0; talker < kTalkers && !chatter.empty(); ++talker) {
    const Signal& words = chatter[random.below(chatter.size())];
    add(clip, words, random.below(kClipSamples / 2), chatter_level);
  }
  pass_channel(clip, difficulty, random);
  const double noise_level = difficulty * amplitude_of(random.uniform(-34.0, -16.0));
  add(clip, noise(random), 0, noise_level);

  float peak = 0;
  for (const float sample : clip) {
    peak = std::max(peak, std::abs(sample));
  }
  const auto gain = static_cast<float>(amplitude_of(random.uniform(-12.0, -1.0)) / peak);
  for (float& sample : clip) {
    sample *= gain;
  }
  return clip;
}

void write_wav(const std::string& path, const std::vector<float>& samples) {
  std::vector<short> pcm(samples.size());
  std::transform(samples.begin(), samples.end(), pcm.begin(), [](float sample) {
    return static_cast<short>(std::lround(std::clamp(sample, -1.0F, 1.0F) * 32767.0F));
  });
  SF_INFO info{};
  info.samplerate = kSampleRate;
  info.channels = 1;
  info.format = SF_FORMAT_WAV | SF_FORMAT_PCM_16;
  SNDFILE* file = sf_open(path.c_str(), SFM_WRITE, &info);
  if (file == nullptr) {
    throw StorageError(path + ": cannot write: " + sf_strerror(nullptr));
  }
  const auto count = static_cast<sf_count_t>(pcm.size());
  const bool written = sf_write_short(file, pcm.data(), count) == count;
  const bool closed = sf_close(file) == 0;
  constexpr size_t kHeader = 44;
  std::error_code ignored;
  if (!written || !closed ||
      std::filesystem::file_size(path, ignored) != kHeader + pcm.size() * sizeof(short)) {
    throw StorageError(path + ": cannot write the whole file; is the disk full?");
  }
}

}  // namespace unbraid::avdigits
