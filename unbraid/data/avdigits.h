#pragma once

#include <string>

#include "unbraid/data/generated_set.h"

namespace unbraid {

/// The embedded data set: the ten digits, spoken by many voices and drawn in many fonts and hands.
struct AvDigitsOptions : GeneratedSetOptions {
  /// Scales noise, reverberation, distortion and clutter; 0 = clean, at most 3.
  double difficulty = 1.0;
};

/// Generates the set (or finds it complete in the cache) and returns the path of its
/// `manifest.csv`: `id,split,label,audio,visual`, labels 0 to 9; audio is 0.64 s of 8 kHz mono
/// 16-bit WAV, visual a 32 x 32 grey PNG. No voice, font or hand is shared by two splits. The same
/// options give the same bytes with the same versions of espeak-ng and the fonts. Several processes
/// may call it at once.
///
/// Throws RecipeError for an option out of range, DataError naming the Debian package to
/// install when espeak-ng or a font is missing, StorageError when the cache cannot be written.
std::string prepare_avdigits(const AvDigitsOptions& options,
                             const GenerationProgress& progress = {});

}  // namespace unbraid
