#include "unbraid/media/spectrogram.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "unbraid/media/log_magnitude.h"

namespace unbraid {
namespace {

int64_t samples_of(double milliseconds, int64_t sample_rate) {
  return static_cast<int64_t>(static_cast<double>(sample_rate) * milliseconds * 0.001);
}

// Samples in a window once it is padded to a power of two.
int64_t padded_size(const FbankSettings& settings) {
  return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(window_size(settings))));
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

// `signal` with `margin` samples on each side, mirrored at its ends or zero.
std::vector<float> with_margins(const torch::Tensor& signal, int64_t margin, bool reflect) {
  const torch::Tensor values = signal.contiguous();
  const float* const first = values.data_ptr<float>();
  const float* const end = first + values.numel();
  std::vector<float> padded(static_cast<size_t>(2 * margin));
  padded.insert(padded.begin() + margin, first, end);
  if (reflect) {
    std::reverse_copy(first + 1, first + 1 + margin, padded.begin());
    std::reverse_copy(end - 1 - margin, end - 1, padded.end() - margin);
  }
  return padded;
}

}  // namespace

LogSpectrogram::LogSpectrogram(const SpectrogramSettings& settings)
    : settings_(settings), window_(torch::hann_window(settings.n_fft)) {
  if (PowerSpectrum::takes(settings.n_fft)) {
    fast_ = PowerSpectrum(window_);
  }
}

torch::Tensor LogSpectrogram::operator()(const torch::Tensor& signal) const {
  std::vector<float> padded = with_margins(signal, settings_.n_fft / 2, settings_.reflect);
  torch::Tensor result;
  if (fast_) {
    result = (*fast_)(padded, settings_.hop, 1 + signal.size(0) / settings_.hop);
  } else {
    const torch::Tensor all = torch::from_blob(padded.data(), static_cast<int64_t>(padded.size()));
    const torch::Tensor rows = all.unfold(0, settings_.n_fft, settings_.hop);
    result = torch::fft_rfft(rows * window_).abs().square().t().contiguous();
  }
  log_magnitude(result.data_ptr<float>(), result.numel(), static_cast<float>(settings_.log_offset));
  return result.unsqueeze(0);
}

int64_t window_size(const FbankSettings& settings) {
  return samples_of(settings.frame_ms, settings.sample_rate);
}

KaldiFbank::KaldiFbank(const FbankSettings& settings)
    : settings_(settings),
      window_(torch::hann_window(window_size(settings), /*periodic=*/false, torch::kDouble)) {
  const int64_t padded = padded_size(settings);
  // Kaldi's filters leave the highest bin out.
  filters_ = mel_filters(settings, padded / 2,
                         static_cast<double>(settings.sample_rate) / static_cast<double>(padded))
                 .t();
}

torch::Tensor KaldiFbank::operator()(const torch::Tensor& signal) const {
  // In double: the logarithm shows what float rounds off in quiet bands.
  constexpr double kPreemphasis = 0.97;
  const int64_t window = window_.size(0);
  torch::Tensor frames =
      (signal - signal.mean())
          .to(torch::kDouble)
          .unfold(0, window, samples_of(settings_.shift_ms, settings_.sample_rate));
  frames = frames - frames.mean(1, /*keepdim=*/true);
  const torch::Tensor before =
      torch::cat({frames.narrow(1, 0, 1), frames.narrow(1, 0, window - 1)}, 1);
  frames = (frames - kPreemphasis * before) * window_;
  const torch::Tensor power = torch::fft_rfft(frames, padded_size(settings_), 1)
                                  .narrow(1, 0, filters_.size(0))
                                  .abs()
                                  .square();
  torch::Tensor bank = torch::matmul(power, filters_)
                           .clamp_min(std::numeric_limits<float>::epsilon())
                           .log()
                           .to(torch::kFloat);
  if (settings_.frames > 0) {
    const int64_t kept = std::min(bank.size(0), settings_.frames);
    const torch::Tensor fitted = torch::zeros({settings_.frames, settings_.mels});
    fitted.narrow(0, 0, kept).copy_(bank.narrow(0, 0, kept));
    bank = fitted;
  }
  return bank.unsqueeze(0);
}

}  // namespace unbraid
