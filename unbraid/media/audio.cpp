#include "unbraid/media/audio.h"

#include <sndfile.h>
#include <soxr.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include <fmt/format.h>

#include "unbraid/media/file.h"
#include "unbraid/media/normalize.h"

namespace unbraid {
namespace {

constexpr int64_t kBlockFrames = 4096;
constexpr int kMinRate = 1000;
constexpr int kMaxRate = 768000;
constexpr int kMaxChannels = 64;

struct SoundCloser {
  void operator()(SNDFILE* sound) const { sf_close(sound); }
};
using Sound = std::unique_ptr<SNDFILE, SoundCloser>;

uint32_t little_endian(const std::string& bytes, size_t offset) {
  uint32_t value = 0;
  for (size_t i = 4; i-- > 0;) {
    value = value << 8 | static_cast<unsigned char>(bytes[offset + i]);
  }
  return value;
}

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

Sound open_sound(const File& file, SF_INFO& info) {
  const std::string magic = file.read(0, 12);
  const bool wav = magic.size() == 12 && magic.starts_with("RIFF") && magic.ends_with("WAVE");
  if (!wav && !magic.starts_with("fLaC") && !magic.starts_with("OggS")) {
    throw file.error("expected a WAV, FLAC or OGG file, its content is none of them");
  }
  if (wav) {
    check_wav_is_whole(file);
  } else if (magic.starts_with("OggS")) {
    check_ogg_is_whole(file);
  }
  Sound sound(sf_open_fd(file.descriptor(), SFM_READ, &info, 0));
  if (sound == nullptr) {
    throw file.error(fmt::format("damaged audio: {}", sf_strerror(nullptr)));
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
  const auto limit = std::min(static_cast<int64_t>(kMaxAudioSeconds * info.samplerate),
                              kMaxAudioBytes / static_cast<int64_t>(sizeof(float)));
  std::vector<float> mono;
  std::vector<float> block(kBlockFrames * info.channels);
  int64_t frames = 0;
  while ((frames = sf_readf_float(sound, block.data(), kBlockFrames)) > 0) {
    append_mean(block, frames, info.channels, mono);
    if (static_cast<int64_t>(mono.size()) > limit) {
      throw file.error(fmt::format("expected at most {} seconds of sound, it has more",
                                   static_cast<double>(limit) / info.samplerate));
    }
  }
  if (sf_error(sound) != SF_ERR_NO_ERROR) {
    throw file.error(fmt::format("damaged or truncated audio after {} frames: {}", mono.size(),
                                 sf_strerror(sound)));
  }
  return mono;
}

void check_frames(const File& file, const SF_INFO& info, const std::vector<float>& mono) {
  const auto found = static_cast<int64_t>(mono.size());
  if (info.frames != SF_COUNT_MAX && found != info.frames) {
    throw file.error(fmt::format("truncated: expected {} frames, found {}", info.frames, found));
  }
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

std::vector<float> resample(const File& file, std::vector<float> mono, double from, double to) {
  if (from == to) {
    return mono;
  }
  std::vector<float> resampled(
      static_cast<size_t>(std::ceil(static_cast<double>(mono.size()) * to / from)) + 1);
  const soxr_io_spec_t io = soxr_io_spec(SOXR_FLOAT32_I, SOXR_FLOAT32_I);
  const soxr_quality_spec_t quality = soxr_quality_spec(SOXR_HQ, 0);
  const soxr_runtime_spec_t runtime = soxr_runtime_spec(1);
  size_t written = 0;
  const soxr_error_t failure =
      soxr_oneshot(from, to, 1, mono.data(), mono.size(), nullptr, resampled.data(),
                   resampled.size(), &written, &io, &quality, &runtime);
  if (failure != nullptr) {
    throw file.error(fmt::format("cannot be resampled from {} to {} Hz: {}", from, to, failure));
  }
  if (written == 0) {
    throw file.error(fmt::format("too short: {} frames at {} Hz", mono.size(), from));
  }
  resampled.resize(written);
  return resampled;
}

AudioSettings read_settings(Options& options) {
  AudioSettings settings;
  settings.sample_rate = options.integer("sample_rate", settings.sample_rate, {1000, 192000});
  settings.seconds = options.number("seconds", settings.seconds, {0.0, kMaxAudioSeconds, true});
  settings.n_fft = options.integer("n_fft", settings.n_fft, {2, 65536});
  settings.hop = options.integer("hop", settings.hop, {1, 65536});
  options.choice("window", {"hann"}, "hann");
  settings.reflect = options.choice("pad_mode", {"reflect", "zeros"}, "reflect") == "reflect";
  settings.log_offset = options.number("log_offset", settings.log_offset, {0.0, 1.0, true});
  settings.normalize = read_normalize(options);
  return settings;
}

}  // namespace

torch::Tensor read_audio(const std::string& path, int64_t sample_rate) {
  const File file(path);
  SF_INFO info{};
  const Sound sound = open_sound(file, info);
  std::vector<float> mono = read_mono(file, sound.get(), info);
  check_frames(file, info, mono);
  mono = resample(file, std::move(mono), info.samplerate, static_cast<double>(sample_rate));
  return torch::tensor(mono);
}

AudioDecoder::AudioDecoder(Options& options)
    : settings_(read_settings(options)),
      samples_(std::llround(settings_.seconds * static_cast<double>(settings_.sample_rate))),
      window_(torch::hann_window(settings_.n_fft)) {
  if (samples_ <= settings_.n_fft / 2) {
    throw options.error("seconds", fmt::format("expected more than {} samples (n_fft / 2), got {}",
                                               settings_.n_fft / 2, samples_));
  }
}

void AudioDecoder::check(const std::string& cell) const { check_file(cell); }

torch::Tensor AudioDecoder::decode(const std::string& cell) const {
  return read_audio(cell, settings_.sample_rate);
}

torch::Tensor AudioDecoder::transform(const torch::Tensor& decoded,
                                      const SampleContext& /*context*/) const {
  const int64_t copies = (samples_ + decoded.size(0) - 1) / decoded.size(0);
  const torch::Tensor signal = decoded.repeat({copies}).narrow(0, 0, samples_).clamp(-1.0, 1.0);
  const torch::Tensor spectrum =
      torch::stft(signal, settings_.n_fft, settings_.hop, settings_.n_fft, window_, /*center=*/true,
                  settings_.reflect ? "reflect" : "constant", /*normalized=*/false,
                  /*onesided=*/true, /*return_complex=*/true);
  const torch::Tensor features = (spectrum.abs() + settings_.log_offset).log().unsqueeze(0);
  return settings_.normalize ? normalized(features) : features;
}

}  // namespace unbraid
