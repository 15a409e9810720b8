#pragma once

#include <string>

#include "unbraid/core/options.h"

namespace unbraid {

/// Parses TOML into values that know their place as `name:line`, tables in the order of the file.
/// Throws RecipeError for anything that is not TOML, and for dates and times, which no recipe
/// needs.
Value parse_toml(const std::string& text, const std::string& name);

/// Applies `dotted.key=value` to `root`; the value is TOML, or else taken as a string.
void apply_override(Value& root, const std::string& assignment);

/// Writes a table as TOML that parse_toml reads back to the same values, numbers exactly.
std::string write_toml(const Value& root);

}  // namespace unbraid
