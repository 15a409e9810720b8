#pragma once

#include <cstdint>
#include <vector>

#include "unbraid/core/torch.h"

namespace unbraid {

/// |STFT|^2 of frames of a signal, eight of them at a time: the frames lie in the lanes of vectors,
/// which go through one real transform of a length that is a power of two.
class PowerSpectrum {
 public:
  /// `window`: float [n_fft]. n_fft: one that it `takes`.
  explicit PowerSpectrum(const torch::Tensor& window);

  static bool takes(int64_t n_fft);
  /// `count` frames of `signal`, `hop` samples apart from its first on: float [n_fft / 2 + 1,
  /// count].
  [[nodiscard]] torch::Tensor operator()(const std::vector<float>& signal, int64_t hop,
                                         int64_t count) const;

 private:
  std::vector<float> window_;
  std::vector<float> turns_;     // cos and -sin of i / n_fft of a turn, for i below n_fft
  std::vector<int64_t> places_;  // where bin i of the complex transform of n_fft / 2 is found
};

}  // namespace unbraid
