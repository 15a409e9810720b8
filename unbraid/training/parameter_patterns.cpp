#include "unbraid/training/parameter_patterns.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "unbraid/core/options.h"

namespace unbraid {
namespace {

/// Patterns that match something: for "a.b.c" that, "a.*", "a.b.*", "*.b.*", "*.c" and "*.b.c".
std::vector<std::string> possible_patterns(const std::vector<std::string>& names) {
  std::set<std::string> patterns;
  for (const std::string& name : names) {
    patterns.insert(name);
    size_t start = 0;
    for (size_t dot = name.find('.'); dot != std::string::npos; dot = name.find('.', dot + 1)) {
      patterns.insert(fmt::format("{}.*", name.substr(0, dot)));
      patterns.insert(fmt::format("*{}", name.substr(dot)));
      if (start > 0) {
        patterns.insert(fmt::format("*.{}.*", name.substr(start, dot - start)));
      }
      start = dot + 1;
    }
  }
  return {patterns.begin(), patterns.end()};
}

}  // namespace

bool matches_pattern(std::string_view pattern, std::string_view name) {
  size_t at = 0;    // in the pattern
  size_t read = 0;  // of the name
  size_t star = std::string_view::npos;
  size_t star_read = 0;  // where the name goes on after what the last star stands for
  while (read < name.size()) {
    if (at < pattern.size() && pattern[at] == '*') {
      star = at++;
      star_read = read;
    } else if (at < pattern.size() && pattern[at] == name[read]) {
      ++at;
      ++read;
    } else if (star != std::string_view::npos) {
      at = star + 1;
      read = ++star_read;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', at) == std::string_view::npos;
}

std::vector<size_t> match_patterns(const std::vector<std::string>& patterns,
                                   const std::vector<std::string>& names, const std::string& key) {
  for (const std::string& pattern : patterns) {
    const bool matches = std::any_of(names.begin(), names.end(), [&](const std::string& name) {
      return matches_pattern(pattern, name);
    });
    if (!matches) {
      const std::string close = nearest(pattern, possible_patterns(names));
      throw RecipeError(fmt::format(
          "{}: expected a pattern that matches a parameter, got \"{}\"; {}", key, pattern,
          close.empty() ? fmt::format("one of them is {}", names.empty() ? "" : names.front())
                        : fmt::format("did you mean \"{}\"?", close)));
    }
  }
  std::vector<size_t> places;
  for (const std::string& name : names) {
    const auto found = std::find_if(patterns.begin(), patterns.end(), [&](const auto& pattern) {
      return matches_pattern(pattern, name);
    });
    places.push_back(static_cast<size_t>(found - patterns.begin()));
  }
  return places;
}

}  // namespace unbraid
