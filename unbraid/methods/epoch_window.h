#pragma once

#include <cstdint>

#include "unbraid/core/options.h"

namespace unbraid {

/// The epochs in which a method changes something: from `starts` to `ends`, counted from 0 as the
/// reference codes do, both included.
struct EpochWindow {
  int64_t starts = 0;
  int64_t ends = 0;

  /// `epoch` counts from 1, as in TrainingStep.
  [[nodiscard]] bool holds(int64_t epoch) const { return epoch - 1 >= starts && epoch - 1 <= ends; }

  /// Reads the keys `starts` and `ends`.
  static EpochWindow read(Options& options, EpochWindow fallback) {
    return {.starts = options.integer("starts", fallback.starts, {.min = 0}),
            .ends = options.integer("ends", fallback.ends, {.min = 0})};
  }
};

}  // namespace unbraid
