#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace unbraid {

/// Whether `name` is what `pattern` says, where `*` stands for any characters, dots too.
bool matches_pattern(std::string_view pattern, std::string_view name);

/// For each of `names` the place of the first of `patterns` that matches it, or patterns.size().
/// Throws RecipeError when a pattern matches none of them, naming one that is near; `key` is what
/// the error begins with.
std::vector<size_t> match_patterns(const std::vector<std::string>& patterns,
                                   const std::vector<std::string>& names, const std::string& key);

}  // namespace unbraid
