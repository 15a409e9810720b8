#pragma once

#include <string>
#include <vector>

#include "unbraid/core/random.h"

namespace unbraid::avdigits {

inline constexpr size_t kClipSamples = 5120;  // 0.64 s

/// A clip of `speech` (of any length, unit root mean square) at a random onset in a random
/// room, through a random channel, with noise and with `chatter` (utterances to draw background
/// talkers from) behind it; at most 1 in magnitude. `difficulty` 0 leaves onset and loudness alone
/// random.
std::vector<float> record(const std::vector<float>& speech,
                          const std::vector<std::vector<float>>& chatter, double difficulty,
                          RandomStream& random);

/// Writes mono 16-bit PCM WAV at kSampleRate. Throws StorageError.
void write_wav(const std::string& path, const std::vector<float>& samples);

}  // namespace unbraid::avdigits
