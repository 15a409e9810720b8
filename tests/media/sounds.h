#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "media/reference.h"

namespace unbraid::testing {

inline constexpr int kWav = SF_FORMAT_WAV | SF_FORMAT_PCM_16;
inline constexpr int kFloatWav = SF_FORMAT_WAV | SF_FORMAT_FLOAT;
inline constexpr int kFlac = SF_FORMAT_FLAC | SF_FORMAT_PCM_16;
inline constexpr int kOgg = SF_FORMAT_OGG | SF_FORMAT_VORBIS;

/// A sweep, so that packed formats have something to write.
inline std::vector<float> sweep(int frames) {
  std::vector<float> samples(frames);
  for (int i = 0; i < frames; ++i) {
    samples[i] = static_cast<float>(0.4 * std::sin(0.05 * i) + 0.3 * std::sin(2e-4 * i * i));
  }
  return samples;
}

class SoundFiles : public ::testing::Test {
 protected:
  std::string write(const std::string& name, int format, int rate, int channels,
                    const std::vector<float>& samples) {
    return write_sound(folder_.file(name), format, rate, channels, samples);
  }

  TemporaryFolder folder_;
};

}  // namespace unbraid::testing
