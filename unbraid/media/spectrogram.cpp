#include "unbraid/media/spectrogram.h"

#include <bit>
#include <cmath>
#include <limits>

namespace unbraid {
namespace {

int64_t samples_of(double milliseconds, int64_t sample_rate) {
  return static_cast<int64_t>(static_cast<double>(sample_rate) * milliseconds * 0.001);
}

torch::Tensor mel(const torch::Tensor& hertz) { return 1127.0 * (hertz / 700.0 + 1.0).log(); }

// [mels, bins] weights of the triangular filters; `bins` of `width` Hz from 0 on.
torch::Tensor mel_filters(const FbankSettings& settings, int64_t bins, double width) {
  const double high =
      settings.high_hz > 0 ? settings.high_hz : static_cast<double>(settings.sample_rate) / 2;
  const torch::Tensor ends = mel(torch::tensor({settings.low_hz, high}, torch::kDouble));
  const torch::Tensor step = (ends[1] - ends[0]) / static_cast<double>(settings.mels + 1);
  const torch::Tensor left =
      (ends[0] + torch::arange(settings.mels, torch::kDouble) * step).unsqueeze(1);
  const torch::Tensor place = mel(torch::arange(bins, torch::kDouble) * width).unsqueeze(0);
  const torch::Tensor up = (place - left) / step;
  return torch::minimum(up, 2.0 - up).clamp_min(0.0);
}

}  // namespace

torch::Tensor log_spectrogram(const torch::Tensor& signal, const SpectrogramSettings& settings) {
  const torch::Tensor spectrum = torch::stft(
      signal, settings.n_fft, settings.hop, settings.n_fft, torch::hann_window(settings.n_fft),
      /*center=*/true, settings.reflect ? "reflect" : "constant", /*normalized=*/false,
      /*onesided=*/true, /*return_complex=*/true);
  return (spectrum.abs() + settings.log_offset).log().unsqueeze(0);
}

int64_t window_size(const FbankSettings& settings) {
  return samples_of(settings.frame_ms, settings.sample_rate);
}

torch::Tensor kaldi_fbank(const torch::Tensor& signal, const FbankSettings& settings) {
  // In double: the logarithm shows what float rounds off in quiet bands.
  constexpr double kPreemphasis = 0.97;
  const int64_t window = window_size(settings);
  const auto padded = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(window)));
  torch::Tensor frames =
      (signal - signal.mean())
          .to(torch::kDouble)
          .unfold(0, window, samples_of(settings.shift_ms, settings.sample_rate));
  frames = frames - frames.mean(1, /*keepdim=*/true);
  const torch::Tensor before =
      torch::cat({frames.narrow(1, 0, 1), frames.narrow(1, 0, window - 1)}, 1);
  frames = (frames - kPreemphasis * before) *
           torch::hann_window(window, /*periodic=*/false, torch::kDouble);
  // Kaldi's filters leave the highest bin out.
  const int64_t bins = padded / 2;
  const torch::Tensor power = torch::fft_rfft(frames, padded, 1).narrow(1, 0, bins).abs().square();
  const double width = static_cast<double>(settings.sample_rate) / static_cast<double>(padded);
  torch::Tensor bank = torch::matmul(power, mel_filters(settings, bins, width).t())
                           .clamp_min(std::numeric_limits<float>::epsilon())
                           .log()
                           .to(torch::kFloat);
  if (settings.frames > 0) {
    const int64_t kept = std::min(bank.size(0), settings.frames);
    const torch::Tensor fitted = torch::zeros({settings.frames, settings.mels});
    fitted.narrow(0, 0, kept).copy_(bank.narrow(0, 0, kept));
    bank = fitted;
  }
  return bank.unsqueeze(0);
}

}  // namespace unbraid
