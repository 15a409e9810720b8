#pragma once

#include <string>
#include <utility>
#include <vector>

namespace unbraid {

/// Keys with their tables, "train.epochs", and values as TOML, "25".
using RecipeKeys = std::vector<std::pair<std::string, std::string>>;

/// Of a resolved recipe, in its order.
RecipeKeys keys_of(const std::string& resolved);

/// Whether the key says where data is read from and how fast, of which no result depends.
bool only_reads_data(const std::string& key);

/// Whether the key says where data or teachers lie; whether they are the same, hashes say.
bool only_says_where(const std::string& key);

/// Whether runs that differ in this key are of different kinds: not the seed, nor where data and
/// teachers lie and how data is read, nor what is logged and probed beside training.
bool says_how_it_learned(const std::string& key);

}  // namespace unbraid
