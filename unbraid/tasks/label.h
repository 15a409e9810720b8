#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "unbraid/core/options.h"

namespace unbraid {

/// Stands between the parts of a label that has several.
inline constexpr char kLabelSeparator = ';';

/// "a;b" → {"a", "b"}: parts as they are written, blanks included. At least one, perhaps empty.
std::vector<std::string> label_parts(const std::string& label);

/// The class that a label or a part of it names: its place among `names` or, where there are none,
/// an integer from 0 to `classes` - 1. Throws DataError "label: expected …, got …".
int64_t class_index(const std::string& part, int64_t classes,
                    const std::vector<std::string>& names);

/// What `class_index` reads as class `index`.
std::string class_name(int64_t index, const std::vector<std::string>& names);

/// A decimal number that a float holds; NaN and infinities are none. Throws DataError "label:
/// expected …, got …".
double label_number(const std::string& part);

/// Reads `key`, a number of things ("classes") or a list of their names, none empty or twice: how
/// many there are, and the names if they have some. Throws RecipeError for fewer than `fewest` or
/// more than `most`.
std::pair<int64_t, std::vector<std::string>> read_number_or_names(
    Options& options, const std::string& key, int64_t fewest,
    std::optional<int64_t> fallback = std::nullopt, int64_t most = 1 << 20);

/// Reads `key` = []: weights above 0, one for each of `classes` classes, or none. Throws
/// RecipeError.
std::vector<double> read_class_weights(Options& options, const std::string& key, int64_t classes);

}  // namespace unbraid
