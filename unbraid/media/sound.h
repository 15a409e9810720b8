#pragma once

#include <cstdint>
#include <string>

#include "unbraid/core/torch.h"

namespace unbraid {

/// No recording longer than this is decoded.
inline constexpr double kMaxAudioSeconds = 600.0;

/// The mean of the channels of a recording, resampled to `sample_rate`: float [T], T > 0, every
/// value finite. Told by content, not by name: what libsndfile reads (WAV, FLAC, OGG, AIFF, …;
/// MP3 only in a build without FFmpeg), else what FFmpeg reads, the sound track of a video too.
/// Throws DataError when the file is not whole, as far as its format lets that be seen.
torch::Tensor read_audio(const std::string& path, int64_t sample_rate);

}  // namespace unbraid
