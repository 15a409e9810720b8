#pragma once

#include <cstdint>
#include <string>

#include "unbraid/core/options.h"

namespace unbraid {

/// The epochs in which a method changes something: from `starts` to `ends`, counted from 0 as the
/// reference codes do, both included.
struct EpochWindow {
  int64_t starts = 0;
  int64_t ends = 0;

  /// `epoch` counts from 1, as in TrainingStep.
  [[nodiscard]] bool holds(int64_t epoch) const { return epoch - 1 >= starts && epoch - 1 <= ends; }

  /// Reads the keys `starts` and `ends`; throws RecipeError where no epoch is between them.
  static EpochWindow read(Options& options, EpochWindow fallback) {
    const int64_t starts = options.integer("starts", fallback.starts, {.min = 0});
    const int64_t ends = options.integer("ends", fallback.ends, {.min = 0});
    if (ends < starts) {
      throw options.error(options.has("ends") ? "ends" : "starts",
                          "expected ends to be starts or later, got " + std::to_string(starts) +
                              " to " + std::to_string(ends));
    }
    return {.starts = starts, .ends = ends};
  }
};

}  // namespace unbraid
