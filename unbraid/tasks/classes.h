#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "unbraid/core/options.h"

namespace unbraid {

/// The classes of a task: so many, or those with these names.
struct Classes {
  int64_t count = 2;
  std::vector<std::string> names = {};  // empty: they are called by their numbers, from 0

  [[nodiscard]] std::string name(int64_t index) const {
    return names.empty() ? std::to_string(index) : names.at(static_cast<size_t>(index));
  }
};

/// Reads `classes`: a number of at least 2, at most `most`, or a list of distinct names.
Classes read_classes(Options& options, int64_t most);

/// Reads `class_weights` = []: weights above 0, one for each of `classes` classes, or none.
std::vector<double> read_class_weights(Options& options, int64_t classes);

}  // namespace unbraid
