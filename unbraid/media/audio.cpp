#include "unbraid/media/audio.h"

#include <fcntl.h>
#include <sndfile.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <memory>
#include <tuple>
#include <vector>

#include <fmt/format.h>

#include "unbraid/media/container.h"
#include "unbraid/media/file.h"
#include "unbraid/media/limits.h"
#include "unbraid/media/resample.h"

namespace unbraid {
namespace {

constexpr int64_t kBlockFrames = 4096;
constexpr int64_t kMostReserved = int64_t{1} << 20;  // samples, on a header's word alone
constexpr int kMinRate = 1000;
constexpr int kMaxRate = 768000;
constexpr int kMaxChannels = 64;

struct SoundCloser {
  void operator()(SNDFILE* sound) const { sf_close(sound); }
};
using Sound = std::unique_ptr<SNDFILE, SoundCloser>;

// libsndfile shortens a cut WAV silently to what is left, so its chunks are held against the size
// of the file. A program that writes to a pipe leaves a size near the maximum: then nothing is
// known.
void check_wav_is_whole(const File& file) {
  constexpr uint32_t kUnknownSize = 0x7fff0000;
  const auto require = [&](const char* what, int64_t end) {
    if (end > file.size()) {
      throw file.error(
          fmt::format("truncated: {} ends at byte {}, the file has {}", what, end, file.size()));
    }
  };
  constexpr int kMostChunks = 10000;
  int64_t offset = 12;
  for (int chunks = 0; offset + 8 <= file.size(); ++chunks) {
    if (chunks == kMostChunks) {
      throw file.error(fmt::format("no sound in its first {} chunks", kMostChunks));
    }
    const std::string chunk = file.read(offset, 8);
    const uint32_t size = little_endian(chunk, 4);
    if (chunk.starts_with("data") && size >= kUnknownSize) {
      return;
    }
    if (chunk.starts_with("data")) {
      require("the sound in its header", offset + 8 + size);
      break;
    }
    offset += 8 + int64_t{size} + size % 2;
  }
  const uint32_t riff_size = little_endian(file.read(0, 12), 4);
  if (riff_size < kUnknownSize) {
    require("the content in its header", 8 + int64_t{riff_size} - riff_size % 2);
  }
}

// libsndfile takes the last page that is there for the last of all. That one carries a flag.
void check_ogg_is_whole(const File& file) {
  constexpr int64_t kLargestPage = 27 + 255 + 255 * 255;
  constexpr unsigned char kLastPage = 4;
  const std::string tail =
      file.read(std::max<int64_t>(0, file.size() - kLargestPage), kLargestPage);
  const size_t start = tail.rfind("OggS");
  const auto byte = [&](size_t offset) -> size_t {
    const size_t at = start + offset;
    return at < tail.size() ? static_cast<unsigned char>(tail[at]) : 0;
  };
  size_t page_size = 27 + byte(26);
  for (size_t segment = 0; segment < byte(26); ++segment) {
    page_size += byte(27 + segment);
  }
  if (start == std::string::npos || start + page_size != tail.size() ||
      (byte(5) & kLastPage) == 0) {
    throw file.error("truncated: it does not end with the last page of an OGG stream");
  }
}

// Null when libsndfile does not know the format, which may still be one of FFmpeg's.
Sound open_sound(const File& file, SF_INFO& info) {
  const std::string magic = file.read(0, 12);
  const bool wav = magic.size() == 12 && magic.starts_with("RIFF") && magic.ends_with("WAVE");
  const bool ogg = magic.starts_with("OggS");
  if (wav) {
    check_wav_is_whole(file);
  } else if (ogg) {
    check_ogg_is_whole(file);
  }
  // Its own, which it closes: what libsndfile cannot open it closes whatever it is told, and the
  // number may be another thread's file by the time that ours is closed.
  const int descriptor = fcntl(file.descriptor(), F_DUPFD_CLOEXEC, 0);
  if (descriptor < 0) {
    throw file.error(fmt::format("cannot be read: {}", std::strerror(errno)));
  }
  Sound sound(sf_open_fd(descriptor, SFM_READ, &info, SF_TRUE));
  if (sound == nullptr && (wav || ogg || magic.starts_with("fLaC") || !container_support())) {
    throw file.error(fmt::format("damaged audio, or none: {}", sf_strerror(nullptr)));
  }
  if (sound == nullptr) {
    return sound;
  }
  if (info.samplerate < kMinRate || info.samplerate > kMaxRate) {
    throw file.error(fmt::format("expected a sample rate from {} to {} Hz, its header says {}",
                                 kMinRate, kMaxRate, info.samplerate));
  }
  if (info.channels < 1 || info.channels > kMaxChannels) {
    throw file.error(
        fmt::format("expected 1 to {} channels, its header says {}", kMaxChannels, info.channels));
  }
  return sound;
}

void append_mean(const std::vector<float>& block, int64_t frames, int channels,
                 std::vector<float>& mono) {
  if (channels == 1) {
    mono.insert(mono.end(), block.begin(), block.begin() + frames);
    return;
  }
  for (int64_t frame = 0; frame < frames; ++frame) {
    double sum = 0;
    for (int channel = 0; channel < channels; ++channel) {
      sum += block[frame * channels + channel];
    }
    mono.push_back(static_cast<float>(sum / channels));
  }
}

// In blocks, since the number of frames in a header proves nothing.
std::vector<float> read_mono(const File& file, SNDFILE* sound, const SF_INFO& info) {
  const auto limit = static_cast<int64_t>(kMaxAudioSeconds * info.samplerate);
  const auto deadline = DecodeBudget::deadline();
  std::vector<float> mono;
  mono.reserve(static_cast<size_t>(std::clamp<int64_t>(info.frames, 0, kMostReserved)));
  std::vector<float> block(kBlockFrames * info.channels);
  int64_t frames = 0;
  while ((frames = sf_readf_float(sound, block.data(), kBlockFrames)) > 0) {
    append_mean(block, frames, info.channels, mono);
    if (static_cast<int64_t>(mono.size()) > limit) {
      throw file.error(
          fmt::format("expected at most {} seconds of sound, it has more", kMaxAudioSeconds));
    }
    DecodeBudget::require_memory(static_cast<int64_t>(mono.size() * sizeof(float)), file.path());
    DecodeBudget::require_time(deadline, file.path());
  }
  if (sf_error(sound) != SF_ERR_NO_ERROR) {
    throw file.error(fmt::format("damaged or truncated audio after {} frames: {}", mono.size(),
                                 sf_strerror(sound)));
  }
  return mono;
}

// The frames that its header names; libsndfile estimates them for MP3.
void check_frames(const File& file, const SF_INFO& info, const std::vector<float>& mono) {
  const auto found = static_cast<int64_t>(mono.size());
  const bool exact =
      info.frames != SF_COUNT_MAX && (info.format & SF_FORMAT_TYPEMASK) != SF_FORMAT_MPEG;
  if (exact && found != info.frames) {
    throw file.error(fmt::format("truncated: expected {} frames, found {}", info.frames, found));
  }
}

void check_samples(const File& file, const std::vector<float>& mono) {
  if (mono.empty()) {
    throw file.error("expected sound, it holds no samples");
  }
  const auto finite = [](float value) { return std::isfinite(value); };
  const auto bad = std::find_if_not(mono.begin(), mono.end(), finite);
  if (bad != mono.end()) {
    throw file.error(
        fmt::format("expected finite samples, found {} at frame {}", *bad, bad - mono.begin()));
  }
}

SoundTrack read_track(const File& file) {
  SF_INFO info{};
  const Sound sound = open_sound(file, info);
  if (sound == nullptr) {
    return read_sound_track(file.path(), kMaxAudioSeconds);
  }
  SoundTrack track{static_cast<double>(info.samplerate), read_mono(file, sound.get(), info)};
  check_frames(file, info, track.samples);
  return track;
}

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

torch::Tensor read_audio(const std::string& path, int64_t sample_rate) {
  const File file(path);
  const SoundTrack track = read_track(file);
  check_samples(file, track.samples);
  return resample(track.samples, track.rate, static_cast<double>(sample_rate), path);
}

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
  std::string key = fmt::format("audio 3 {}", settings_.sample_rate);
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
  torch::Tensor signal = waveform;
  if (signal.size(0) < whole) {
    const int64_t copies = settings_.tile ? (whole + signal.size(0) - 1) / signal.size(0) : 1;
    signal = signal.repeat({copies});
    signal = torch::constant_pad_nd(signal, {0, std::max<int64_t>(0, whole - signal.size(0))});
  }
  const int64_t room = whole - wanted;
  int64_t start = 0;
  if (is_drawn() && context.training) {
    start = static_cast<int64_t>(context.random("start").below(room + 1));
  } else if (settings_.start != AudioSettings::Start::kFirst) {
    start = room / 2;
  }
  return signal.narrow(0, start, wanted).clamp(-1.0, 1.0);
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
