#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "unbraid/core/random.h"
#include "unbraid/data/manifest.h"

namespace unbraid::avdigits {

inline constexpr int kSampleRate = 8000;

/// How a digit is said: an accent with a speaker ("en-us+m3"), a pitch (0 to 99) and a pace.
struct Voice {
  std::string name;
  int pitch = 50;
  int words_per_minute = 175;
};

/// The speakers of a split; no speaker belongs to two splits.
const std::vector<std::string>& speakers(Split split);

Voice draw_voice(Split split, RandomStream& random);

/// Says `digit`: mono samples at kSampleRate without leading and trailing silence, scaled to unit
/// root mean square. Runs the espeak-ng program in a process of its own, where alone it is
/// deterministic; throws DataError when it is not installed, fails or takes longer than `patience`.
std::vector<float> speak(int digit, const Voice& voice,
                         std::chrono::milliseconds patience = std::chrono::seconds(30));

}  // namespace unbraid::avdigits
