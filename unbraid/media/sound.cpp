#include "unbraid/media/sound.h"

#include <fcntl.h>
#include <sndfile.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

#include <fmt/format.h>

#include "unbraid/media/container.h"
#include "unbraid/media/file.h"
#include "unbraid/media/limits.h"
#include "unbraid/media/resample.h"
#include "unbraid/media/whole.h"

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

// The codec of a WAV, as its header numbers it.
constexpr uint32_t kPcm = 1;

// Refuses numbers that libsndfile makes its own of; returns the codec.
uint32_t check_wav_format(const File& file, int64_t offset) {
  const std::string format = file.read(offset, 16);
  if (format.size() < 16) {
    return kPcm;  // cut, which is said elsewhere
  }
  const uint32_t codec = little_endian(format, 0) & 0xffff;
  const uint32_t block = little_endian(format, 12) & 0xffff;
  const uint32_t bits = little_endian(format, 12) >> 16;
  if (block == 0 || (codec == kPcm && bits < 8)) {
    throw file.error(
        fmt::format("expected blocks of some bytes and samples of 8 bits or more, its header says "
                    "{} and {}",
                    block, bits));
  }
  return codec;
}

// libsndfile shortens a cut WAV silently to what is left, so its chunks are held against the size
// of the file. A program that writes to a pipe leaves a size near the maximum: then nothing is
// known. Returns its codec.
uint32_t check_wav_is_whole(const File& file) {
  constexpr uint32_t kUnknownSize = 0x7fff0000;
  const auto require = [&](const char* what, int64_t end) {
    if (end > file.size()) {
      throw file.error(
          fmt::format("truncated: {} ends at byte {}, the file has {}", what, end, file.size()));
    }
  };
  constexpr int kMostChunks = 10000;
  int64_t offset = 12;
  uint32_t codec = kPcm;
  for (int chunks = 0; offset + 8 <= file.size(); ++chunks) {
    if (chunks == kMostChunks) {
      throw file.error(fmt::format("no sound in its first {} chunks", kMostChunks));
    }
    const std::string chunk = file.read(offset, 8);
    const uint32_t size = little_endian(chunk, 4);
    if (chunk.starts_with("fmt ")) {
      codec = check_wav_format(file, offset + 8);
    }
    if (chunk.starts_with("data") && size >= kUnknownSize) {
      return codec;
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
  return codec;
}

/// Of the codecs that a WAV may have, those that libsndfile reads: PCM, ADPCM of Microsoft and IMA,
/// floating point, A-law, mu-law, GSM 6.10, G.721 and what the extended header names.
bool reads_codec(uint32_t codec) {
  constexpr std::array<uint32_t, 9> kKnown = {kPcm, 2, 3, 6, 7, 0x11, 0x31, 0x40, 0xfffe};
  return std::find(kKnown.begin(), kKnown.end(), codec) != kKnown.end();
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

/// Whether libsndfile would take it for an MP3, or another layer of MPEG audio.
bool is_mpeg_audio(const std::string& magic) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(magic[i]); };
  return magic.starts_with("ID3") ||
         (magic.size() > 1 && byte(0) == 0xff && (byte(1) & 0xe0) == 0xe0 && (byte(1) & 6) != 0);
}

// Null when libsndfile does not know the format or what is in it, which may still be one of
// FFmpeg's, and for MPEG audio where there is FFmpeg: libsndfile's decoder reads on where it is
// damaged or cut, and says so on standard error.
Sound open_sound(const File& file, SF_INFO& info) {
  const std::string magic = file.read(0, 12);
  const bool wav = magic.size() == 12 && magic.starts_with("RIFF") && magic.ends_with("WAVE");
  const bool ogg = magic.starts_with("OggS");
  if (is_mpeg_audio(magic) && container_support()) {
    return nullptr;
  }
  if (wav) {
    const uint32_t codec = check_wav_is_whole(file);
    if (!reads_codec(codec) && container_support()) {
      return nullptr;
    }
  } else if (ogg) {
    check_ogg_is_whole(file);
  } else {
    check_is_whole(file);
  }
  // Its own, which it closes: what libsndfile cannot open it closes whatever it is told, and the
  // number may be another thread's file by the time that ours is closed.
  const int descriptor = fcntl(file.descriptor(), F_DUPFD_CLOEXEC, 0);
  if (descriptor < 0) {
    throw file.error(fmt::format("cannot be read: {}", std::strerror(errno)));
  }
  Sound sound(sf_open_fd(descriptor, SFM_READ, &info, SF_TRUE));
  if (sound == nullptr && (wav || magic.starts_with("fLaC") || !container_support())) {
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

// The frames that its header names; libsndfile estimates them for MP3, also in a WAV.
void check_frames(const File& file, const SF_INFO& info, const std::vector<float>& mono) {
  const auto found = static_cast<int64_t>(mono.size());
  const bool exact = info.frames != SF_COUNT_MAX &&
                     (info.format & SF_FORMAT_TYPEMASK) != SF_FORMAT_MPEG &&
                     (info.format & SF_FORMAT_SUBMASK) != SF_FORMAT_MPEG_LAYER_III;
  if (exact && found != info.frames) {
    throw file.error(fmt::format("truncated: expected {} frames, found {}", info.frames, found));
  }
}

// By their exponents, in a loop that becomes one of vectors.
bool are_finite(const std::vector<float>& samples) {
  constexpr int32_t kMagnitude = 0x7fffffff;
  constexpr int32_t kInfinity = 0x7f800000;
  int32_t largest = 0;
  for (const float sample : samples) {
    largest = std::max(largest, std::bit_cast<int32_t>(sample) & kMagnitude);
  }
  return largest < kInfinity;
}

void check_samples(const File& file, const std::vector<float>& mono) {
  if (mono.empty()) {
    throw file.error("expected sound, it holds no samples");
  }
  if (are_finite(mono)) {
    return;
  }
  const auto finite = [](float value) { return std::isfinite(value); };
  const auto bad = std::find_if_not(mono.begin(), mono.end(), finite);
  throw file.error(
      fmt::format("expected finite samples, found {} at frame {}", *bad, bad - mono.begin()));
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

}  // namespace

torch::Tensor read_audio(const std::string& path, int64_t sample_rate) {
  const File file(path);
  const SoundTrack track = read_track(file);
  check_samples(file, track.samples);
  return resample(track.samples, track.rate, static_cast<double>(sample_rate), path);
}

}  // namespace unbraid
