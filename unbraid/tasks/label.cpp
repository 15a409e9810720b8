#include "unbraid/tasks/label.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include "unbraid/core/error.h"

namespace unbraid {

std::vector<std::string> label_parts(const std::string& label) {
  std::vector<std::string> parts;
  size_t begin = 0;
  for (size_t end = 0; end != std::string::npos; begin = end + 1) {
    end = label.find(kLabelSeparator, begin);
    parts.push_back(label.substr(begin, end - begin));
  }
  return parts;
}

int64_t class_index(const std::string& part, int64_t classes,
                    const std::vector<std::string>& names) {
  if (!names.empty()) {
    const auto place = std::find(names.begin(), names.end(), part);
    if (place == names.end()) {
      const std::string close = nearest(part, names);
      throw DataError(fmt::format(
          "label: expected one of the {} class names of task.classes, got "
          "\"{}\"{}",
          names.size(), part, close.empty() ? "" : fmt::format("; did you mean \"{}\"?", close)));
    }
    return place - names.begin();
  }
  int64_t number = -1;
  const char* end = part.data() + part.size();
  const auto [stop, failure] = std::from_chars(part.data(), end, number);
  if (failure != std::errc() || stop != end || number < 0 || number >= classes) {
    throw DataError(
        fmt::format("label: expected an integer from 0 to {}, got \"{}\"", classes - 1, part));
  }
  return number;
}

std::string class_name(int64_t index, const std::vector<std::string>& names) {
  return names.empty() ? std::to_string(index) : names.at(static_cast<size_t>(index));
}

double label_number(const std::string& part) {
  double number = 0;
  const char* end = part.data() + part.size();
  const auto [stop, failure] = std::from_chars(part.data(), end, number);
  if (failure != std::errc() || stop != end || !std::isfinite(static_cast<float>(number))) {
    throw DataError(
        fmt::format("label: expected a number such as -1.5 that a float holds, got \"{}\"", part));
  }
  return number;
}

std::pair<int64_t, std::vector<std::string>> read_number_or_names(Options& options,
                                                                  const std::string& key,
                                                                  int64_t fewest,
                                                                  std::optional<int64_t> fallback,
                                                                  int64_t most) {
  if (!options.is_list(key)) {
    const Range range{.min = static_cast<double>(fewest), .max = static_cast<double>(most)};
    return {options.integer(key, fallback, range), {}};
  }
  std::vector<std::string> names = options.texts(key);
  std::vector<std::string> sorted = names;
  std::sort(sorted.begin(), sorted.end());
  if (!sorted.empty() && sorted.front().empty()) {
    throw options.error(key, "expected names, got an empty one");
  }
  if (static_cast<int64_t>(names.size()) < fewest ||
      std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end()) {
    throw options.error(
        key, fmt::format("expected a number of {} or at least {} distinct names", key, fewest));
  }
  const auto count = static_cast<int64_t>(names.size());
  if (count > most) {
    throw options.error(key, fmt::format("expected at most {} names, got {}", most, count));
  }
  return {count, std::move(names)};
}

std::vector<double> read_class_weights(Options& options, const std::string& key, int64_t classes) {
  auto weights = options.numbers(key, std::vector<double>{}, {.min = 0.0, .open_min = true});
  if (!weights.empty() && static_cast<int64_t>(weights.size()) != classes) {
    throw options.error(key, fmt::format("expected {} weights, one for each class, got {}", classes,
                                         weights.size()));
  }
  return weights;
}

}  // namespace unbraid
