#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "unbraid/media/decoder.h"
#include "unbraid/media/normalize.h"
#include "unbraid/media/spectrogram.h"

namespace unbraid {

struct AudioSettings {
  int64_t sample_rate = 22050;
  double seconds = 3.0;        // length of what is taken
  double excerpt_seconds = 0;  // of the part of the recording it is taken from; 0: all of it
  bool tile = true;            // what is too short is repeated; else followed by silence
  enum class Start { kFirst, kRandom, kCentre } start = Start::kFirst;
  bool fbank = false;  // else spectrogram
  SpectrogramSettings spectrogram;
  FbankSettings filters;
  int64_t time_mask = 0;       // SpecAugment: most frames that a mask covers
  int64_t frequency_mask = 0;  // most bins
  int64_t masks = 1;           // of each
};

/// kind = "audio". The waveform is repeated (or silence added) until it is long enough, cut to its
/// first `excerpt_seconds`, `seconds` are taken from there and clipped to [-1, 1]; the features are
/// the logarithm of the magnitude of an STFT, [1, n_fft / 2 + 1, 1 + seconds * sample_rate / hop],
/// or a Kaldi filter bank, [1, frames, mels]. In training, SpecAugment then sets bands of them to
/// their mean. `decode` gives the features, or with start = "random" the waveform [T]; `transform`
/// takes either.
///
/// Keys: sample_rate = 22050, seconds = 3.0, excerpt_seconds = seconds (0: the whole recording),
/// fill = "tile" or "silence", start = "first", "random" (in training; otherwise as centre) or
/// "centre", features = "spectrogram" or "fbank",
/// spectrogram: n_fft = 512, hop = 353, window = "hann", pad_mode = "reflect" or "zeros" (librosa
/// changed its default from the first to the second in version 0.10, so it decides which published
/// features are met), log_offset = 1e-7;
/// fbank: mels = 128, frame_ms = 25, shift_ms = 10, low_hz = 20, high_hz = 0 (half the rate),
/// frames = 0;
/// time_mask = 0, frequency_mask = 0, masks = 1, and normalize with its keys (see Normalization).
class AudioDecoder final : public Decoder {
 public:
  explicit AudioDecoder(Options& options);

  void check(const std::string& cell) const override;
  [[nodiscard]] torch::Tensor decode(const std::string& cell) const override;
  [[nodiscard]] torch::Tensor transform(const torch::Tensor& decoded,
                                        const SampleContext& context) const override;
  [[nodiscard]] std::string cache_key(const std::string& cell) const override;

 private:
  [[nodiscard]] int64_t samples_of(double seconds) const;
  [[nodiscard]] bool is_drawn() const { return settings_.start == AudioSettings::Start::kRandom; }
  /// The part of a waveform that this time is seen: [seconds * sample_rate].
  [[nodiscard]] torch::Tensor excerpt(const torch::Tensor& waveform,
                                      const SampleContext& context) const;
  [[nodiscard]] torch::Tensor masked(torch::Tensor features, const SampleContext& context) const;

  AudioSettings settings_;
  std::function<torch::Tensor(const torch::Tensor& signal)> features_;
  Normalization normalization_;
};

}  // namespace unbraid
