#include "unbraid/training/recipe_keys.h"

#include <sstream>

namespace unbraid {

RecipeKeys keys_of(const std::string& resolved) {
  RecipeKeys keys;
  std::istringstream lines(resolved);
  std::string table;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with('[') && line.ends_with(']')) {
      table = line.substr(1, line.size() - 2) + ".";
    } else if (const size_t equals = line.find(" = "); equals != std::string::npos) {
      keys.emplace_back(table + line.substr(0, equals), line.substr(equals + 3));
    }
  }
  return keys;
}

bool only_reads_data(const std::string& key) {
  return key == "data.cache" || key == "data.cache_gb" || key == "data.workers";
}

bool only_says_where(const std::string& key) {
  return key == "data.manifest" || key == "data.cache_folder" ||
         key.starts_with("method.teachers.") ||
         (key.starts_with("modalities.") && key.ends_with(".table"));
}

bool says_how_it_learned(const std::string& key) {
  return key != "seed" && !key.starts_with("log.") && !key.starts_with("probe.") &&
         !only_reads_data(key) && !only_says_where(key);
}

}  // namespace unbraid
