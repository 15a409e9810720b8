#include "unbraid/media/audio.h"

#include <algorithm>
#include <cmath>
#include <tuple>
#include <vector>

#include <fmt/format.h>

#include "unbraid/media/file.h"
#include "unbraid/media/sound.h"

namespace unbraid {
namespace {

SpectrogramSettings read_spectrogram(Options& options) {
  SpectrogramSettings settings;
  settings.n_fft = options.integer("n_fft", settings.n_fft, {2, 65536});
  settings.hop = options.integer("hop", settings.hop, {1, 65536});
  options.choice("window", {"hann"}, "hann");
  settings.reflect = options.choice("pad_mode", {"reflect", "zeros"}, "reflect") == "reflect";
  settings.log_offset = options.number("log_offset", settings.log_offset, {0.0, 1.0, true});
  return settings;
}

FbankSettings read_filters(Options& options, int64_t sample_rate) {
  FbankSettings settings;
  const double half = static_cast<double>(sample_rate) / 2;
  settings.sample_rate = sample_rate;
  settings.mels = options.integer("mels", settings.mels, {1, 4096});
  settings.frame_ms = options.number("frame_ms", settings.frame_ms, {1.0, 1000.0});
  settings.shift_ms = options.number("shift_ms", settings.shift_ms, {1.0, 1000.0});
  settings.low_hz = options.number("low_hz", settings.low_hz, {0.0, half});
  settings.high_hz = options.number("high_hz", settings.high_hz, {0.0, half});
  settings.frames = options.integer("frames", settings.frames, {0, 1 << 20});
  if (settings.high_hz > 0 && settings.high_hz <= settings.low_hz) {
    throw options.error("high_hz", fmt::format("expected more than low_hz ({}), or 0, got {}",
                                               settings.low_hz, settings.high_hz));
  }
  return settings;
}

AudioSettings read_settings(Options& options) {
  using Start = AudioSettings::Start;
  AudioSettings settings;
  settings.sample_rate = options.integer("sample_rate", settings.sample_rate, {1000, 192000});
  settings.seconds = options.number("seconds", settings.seconds, {0.0, kMaxAudioSeconds, true});
  settings.excerpt_seconds =
      options.number("excerpt_seconds", settings.seconds, {0.0, kMaxAudioSeconds});
  if (settings.excerpt_seconds > 0 && settings.excerpt_seconds < settings.seconds) {
    throw options.error("excerpt_seconds",
                        fmt::format("expected at least seconds ({}), or 0, got {}",
                                    settings.seconds, settings.excerpt_seconds));
  }
  settings.tile = options.choice("fill", {"tile", "silence"}, "tile") == "tile";
  const std::string start = options.choice("start", {"first", "random", "centre"}, "first");
  settings.start = start == "first"    ? Start::kFirst
                   : start == "random" ? Start::kRandom
                                       : Start::kCentre;
  settings.fbank = options.choice("features", {"spectrogram", "fbank"}, "spectrogram") == "fbank";
  if (settings.fbank) {
    settings.filters = read_filters(options, settings.sample_rate);
  } else {
    settings.spectrogram = read_spectrogram(options);
  }
  settings.time_mask = options.integer("time_mask", settings.time_mask, {0, 1 << 20});
  settings.frequency_mask = options.integer("frequency_mask", settings.frequency_mask, {0, 65536});
  settings.masks = options.integer("masks", settings.masks, {1, 100});
  return settings;
}

}  // namespace

AudioDecoder::AudioDecoder(Options& options)
    : settings_(read_settings(options)), normalization_(options) {
  if (settings_.fbank) {
    features_ = KaldiFbank(settings_.filters);
  } else {
    features_ = LogSpectrogram(settings_.spectrogram);
  }
  const int64_t samples = samples_of(settings_.seconds);
  const int64_t needed =
      settings_.fbank ? window_size(settings_.filters) : settings_.spectrogram.n_fft / 2 + 1;
  if (samples < needed) {
    throw options.error(
        "seconds", fmt::format("expected at least the {} samples that the features need, got {}",
                               needed, samples));
  }
}

void AudioDecoder::check(const std::string& cell) const { check_file(cell); }

torch::Tensor AudioDecoder::decode(const std::string& cell) const {
  const torch::Tensor waveform = read_audio(cell, settings_.sample_rate);
  return is_drawn() ? waveform : features_(excerpt(waveform, {}));
}

std::string AudioDecoder::cache_key(const std::string& cell) const {
  std::string key = fmt::format("audio 5 {}", settings_.sample_rate);
  if (!is_drawn()) {
    const SpectrogramSettings& stft = settings_.spectrogram;
    const FbankSettings& bank = settings_.filters;
    key += fmt::format(" {} {} {} {}", settings_.seconds, settings_.excerpt_seconds, settings_.tile,
                       static_cast<int>(settings_.start));
    key += settings_.fbank ? fmt::format(" fbank {} {} {} {} {} {}", bank.mels, bank.frame_ms,
                                         bank.shift_ms, bank.low_hz, bank.high_hz, bank.frames)
                           : fmt::format(" stft {} {} {} {}", stft.n_fft, stft.hop, stft.reflect,
                                         stft.log_offset);
  }
  return fmt::format("{}\n{}", key, file_stamp(cell));
}

int64_t AudioDecoder::samples_of(double seconds) const {
  return std::llround(seconds * static_cast<double>(settings_.sample_rate));
}

torch::Tensor AudioDecoder::excerpt(const torch::Tensor& waveform,
                                    const SampleContext& context) const {
  const int64_t wanted = samples_of(settings_.seconds);
  const int64_t whole = settings_.excerpt_seconds > 0 ? samples_of(settings_.excerpt_seconds)
                                                      : std::max(wanted, waveform.size(0));
  const int64_t room = whole - wanted;
  int64_t start = 0;
  if (is_drawn() && context.training) {
    start = static_cast<int64_t>(context.random("start").below(room + 1));
  } else if (settings_.start != AudioSettings::Start::kFirst) {
    start = room / 2;
  }
  torch::Tensor taken = settings_.tile ? torch::empty({wanted}) : torch::zeros({wanted});
  const torch::Tensor signal = waveform.contiguous();
  const float* const samples = signal.data_ptr<float>();
  const int64_t size = signal.size(0);
  // Not std::clamp, whose references keep GCC from making vectors of it.
  const auto clipped = [](float sample) {
    const float raised = sample < -1.0F ? -1.0F : sample;
    return raised > 1.0F ? 1.0F : raised;
  };
  for (int64_t i = 0; i < wanted && (settings_.tile || start + i < size);) {
    const int64_t place = (start + i) % size;
    const int64_t count = std::min(size - place, wanted - i);
    std::transform(samples + place, samples + place + count, taken.data_ptr<float>() + i, clipped);
    i += count;
  }
  return taken;
}

torch::Tensor AudioDecoder::masked(torch::Tensor features, const SampleContext& context) const {
  const torch::Tensor mean = features.mean();
  // A spectrogram is [1, bins, frames], a filter bank [1, frames, mels].
  const int64_t time = settings_.fbank ? 1 : 2;
  for (const auto& [axis, most, purpose] :
       {std::tuple{time, settings_.time_mask, "time_mask"},
        std::tuple{3 - time, settings_.frequency_mask, "frequency_mask"}}) {
    RandomStream random = context.random(purpose);
    for (int64_t i = 0; i < settings_.masks && most > 0; ++i) {
      const int64_t size = features.size(axis);
      const auto width = static_cast<int64_t>(random.below(std::min(most, size) + 1));
      const auto start = static_cast<int64_t>(random.below(size - width + 1));
      features.narrow(axis, start, width)
          .copy_(mean.expand_as(features.narrow(axis, start, width)));
    }
  }
  return features;
}

torch::Tensor AudioDecoder::transform(const torch::Tensor& decoded,
                                      const SampleContext& context) const {
  const torch::Tensor features =
      normalization_.apply(decoded.dim() == 1 ? features_(excerpt(decoded, context)) : decoded);
  const bool masks = settings_.time_mask > 0 || settings_.frequency_mask > 0;
  return masks && context.training ? masked(features.clone(), context) : features;
}

}  // namespace unbraid
