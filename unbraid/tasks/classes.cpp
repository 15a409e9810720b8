#include "unbraid/tasks/classes.h"

#include <algorithm>

#include <fmt/format.h>

namespace unbraid {

Classes read_classes(Options& options, int64_t most) {
  if (options.is_integer("classes") || !options.has("classes")) {
    return {options.integer("classes", std::nullopt, {.min = 2, .max = static_cast<double>(most)})};
  }
  Classes read;
  read.names = options.texts("classes");
  read.count = static_cast<int64_t>(read.names.size());
  auto sorted = read.names;
  std::sort(sorted.begin(), sorted.end());
  if (read.count < 2 || std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end()) {
    throw options.error("classes", "expected a number of classes or at least two distinct names");
  }
  if (read.count > most) {
    throw options.error("classes", fmt::format("expected at most {} classes", most));
  }
  return read;
}

std::vector<double> read_class_weights(Options& options, int64_t classes) {
  auto weights =
      options.numbers("class_weights", std::vector<double>{}, {.min = 0.0, .open_min = true});
  if (!weights.empty() && static_cast<int64_t>(weights.size()) != classes) {
    throw options.error(
        "class_weights",
        fmt::format("expected {} weights, one for each class, got {}", classes, weights.size()));
  }
  return weights;
}

}  // namespace unbraid
