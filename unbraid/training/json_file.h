#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "unbraid/core/error.h"
#include "unbraid/data/data_hash.h"

namespace unbraid {

/// Reads a file that holds one JSON object. Throws StorageError where it holds anything else.
nlohmann::json read_json_object(const std::filesystem::path& path);

/// Calls `use` with each line of a file of JSON objects and its place, "metrics.jsonl:7". Throws
/// StorageError, which names the place, at a line that is none.
void for_each_json_line(
    const std::filesystem::path& path,
    const std::function<void(const nlohmann::json& line, const std::string& place)>& use);

/// The lines of a file of JSON objects that are whole: a kill can cut the last one short.
std::vector<nlohmann::json> whole_json_lines(const std::filesystem::path& path);

/// Reads the values of a JSON object. Throws StorageError "PLACE: expected a number as seconds,
/// found "soon"" for one that is missing or of another kind.
class JsonFields {
 public:
  JsonFields(const nlohmann::json& object, std::string place)
      : object_(object), place_(std::move(place)) {}

  /// NaN for null, as JSON has none.
  [[nodiscard]] double number(const std::string& key) const;
  /// A number from 0 on.
  [[nodiscard]] double amount(const std::string& key) const;
  /// A whole number from 0 on.
  [[nodiscard]] int64_t count(const std::string& key) const;
  [[nodiscard]] std::string text(const std::string& key) const;
  [[nodiscard]] bool has(const std::string& key) const { return object_.contains(key); }
  /// An object under `key`, an empty one where there is nothing.
  [[nodiscard]] const nlohmann::json& object(const std::string& key) const;
  /// The same, whose values are read as this one's are.
  [[nodiscard]] JsonFields inside(const std::string& key) const;
  /// "PLACE: expected WHAT as KEY, found …".
  [[nodiscard]] StorageError error(const std::string& key, const std::string& what) const;

 private:
  const nlohmann::json& object_;
  std::string place_;
};

/// As summaries and checkpoints have it: "data_hash" of the manifest and "files_hash" by part.
nlohmann::json to_json(const DataHash& hash);
/// The way back.
DataHash data_hash_of(const JsonFields& record);

}  // namespace unbraid
