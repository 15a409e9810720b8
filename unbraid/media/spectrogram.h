#pragma once

#include <cstdint>
#include <optional>

#include "unbraid/core/torch.h"
#include "unbraid/media/power_spectrum.h"

namespace unbraid {

struct SpectrogramSettings {
  int64_t n_fft = 512;       // samples in a window
  int64_t hop = 353;         // samples from one window to the next
  bool reflect = true;       // what the signal is padded with at both ends; else zeros
  double log_offset = 1e-7;  // added to the magnitude before the logarithm
};

/// ln(|STFT| + log_offset) of `signal` [T], centred, with a periodic Hann window of n_fft samples:
/// [1, n_fft / 2 + 1, 1 + T / hop]. T > n_fft / 2.
class LogSpectrogram {
 public:
  explicit LogSpectrogram(const SpectrogramSettings& settings);
  torch::Tensor operator()(const torch::Tensor& signal) const;

 private:
  SpectrogramSettings settings_;
  torch::Tensor window_;
  std::optional<PowerSpectrum> fast_;  // where it takes n_fft
};

struct FbankSettings {
  int64_t sample_rate = 16000;
  int64_t mels = 128;      // triangular filters, equally wide on the mel scale
  double frame_ms = 25.0;  // length of a window
  double shift_ms = 10.0;  // from one window to the next
  double low_hz = 20.0;    // where the first filter begins
  double high_hz = 0.0;    // where the last ends; 0: half the sample rate
  int64_t frames = 0;      // cut, or padded with zeros, to this length; 0: as many as come out
};

/// Kaldi's log mel filter bank of `signal` [T] less its mean: windows that lie within the signal,
/// each less its mean, pre-emphasised by 0.97, under a symmetric Hann window, padded to a power of
/// two; the logarithm of what the filters let through of the power spectrum, at least float's
/// epsilon. [1, frames, mels]. T is at least one window.
class KaldiFbank {
 public:
  explicit KaldiFbank(const FbankSettings& settings);
  torch::Tensor operator()(const torch::Tensor& signal) const;

 private:
  FbankSettings settings_;
  torch::Tensor window_;
  torch::Tensor filters_;  // [bins, mels]
};

/// Samples in a window of `settings`.
int64_t window_size(const FbankSettings& settings);

}  // namespace unbraid
