#pragma once

#include <cstdint>
#include <string>

#include "unbraid/media/decoder.h"

namespace unbraid {

/// No recording longer than this is decoded, nor one whose samples would take more memory.
inline constexpr double kMaxAudioSeconds = 600.0;
inline constexpr int64_t kMaxAudioBytes = int64_t{1} << 30;

/// The mean of the channels of a WAV, FLAC or OGG file (told by content, not by name), resampled to
/// `sample_rate`: float [T], T > 0, every value finite. Throws DataError when the file is not
/// whole.
torch::Tensor read_audio(const std::string& path, int64_t sample_rate);

struct AudioSettings {
  int64_t sample_rate = 22050;
  double seconds = 3.0;      // length after tiling and cutting
  int64_t n_fft = 512;       // samples in a window
  int64_t hop = 353;         // samples from one window to the next
  bool reflect = true;       // what the signal is padded with at both ends; else zeros
  double log_offset = 1e-7;  // added to the magnitude before the logarithm
  bool normalize = false;    // zero mean, unit variance over each spectrogram
};

/// kind = "audio": the logarithm of the magnitude of a centred STFT with a periodic Hann window.
/// `decode` gives the waveform [T]; `transform` repeats it until it is long enough, cuts it to
/// `seconds`, clips it to [-1, 1] and gives [1, n_fft / 2 + 1, 1 + seconds * sample_rate / hop].
///
/// Keys: sample_rate = 22050, seconds = 3.0, n_fft = 512, hop = 353, window = "hann",
/// pad_mode = "reflect" or "zeros" (librosa changed its default from the first to the second in
/// version 0.10, so it decides which published features are met), log_offset = 1e-7,
/// normalize = "none" or "sample".
class AudioDecoder final : public Decoder {
 public:
  explicit AudioDecoder(Options& options);

  void check(const std::string& cell) const override;
  [[nodiscard]] torch::Tensor decode(const std::string& cell) const override;
  [[nodiscard]] torch::Tensor transform(const torch::Tensor& decoded,
                                        const SampleContext& context) const override;

 private:
  AudioSettings settings_;
  int64_t samples_ = 0;
  torch::Tensor window_;
};

}  // namespace unbraid
