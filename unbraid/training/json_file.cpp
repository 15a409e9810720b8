#include "unbraid/training/json_file.h"

#include <cmath>
#include <sstream>

#include <fmt/format.h>

#include "unbraid/core/durable_file.h"

namespace unbraid {
namespace {

using nlohmann::json;

constexpr uint64_t kMaxTextBytes = uint64_t{1} << 30;

/// What was found, as a message may show it.
std::string shown(const json& value) {
  constexpr size_t kLongest = 40;
  const std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace);
  return text.size() > kLongest ? text.substr(0, kLongest) + "…" : text;
}

json parse_object(const std::string& text, const std::string& place) {
  json object;
  try {
    object = json::parse(text);
  } catch (const json::parse_error& problem) {
    throw StorageError(fmt::format("{}: expected a JSON object, which it is no more at byte {}",
                                   place, problem.byte));
  } catch (const json::exception&) {
    throw StorageError(place +
                       ": expected a JSON object, found one with a number that is too large");
  }
  if (!object.is_object()) {
    throw StorageError(fmt::format("{}: expected a JSON object, found {}", place, shown(object)));
  }
  return object;
}

}  // namespace

json read_json_object(const std::filesystem::path& path) {
  return parse_object(read_whole_file(path, kMaxTextBytes), path.string());
}

void for_each_json_line(
    const std::filesystem::path& path,
    const std::function<void(const json& line, const std::string& place)>& use) {
  std::istringstream lines(read_whole_file(path, kMaxTextBytes));
  size_t number = 0;
  for (std::string line; std::getline(lines, line);) {
    const std::string place = fmt::format("{}:{}", path.string(), ++number);
    use(parse_object(line, place), place);
  }
}

std::vector<json> whole_json_lines(const std::filesystem::path& path) {
  std::istringstream text(read_whole_file(path, kMaxTextBytes));
  std::vector<json> lines;
  for (std::string line; std::getline(text, line);) {
    if (json record = json::parse(line, nullptr, false); record.is_object()) {
      lines.push_back(std::move(record));
    }
  }
  return lines;
}

double JsonFields::number(const std::string& key) const {
  const auto found = object_.find(key);
  if (found == object_.end() || !(found->is_number() || found->is_null())) {
    throw error(key, "a number");
  }
  return found->is_null() ? std::nan("") : found->get<double>();
}

double JsonFields::amount(const std::string& key) const {
  const auto found = object_.find(key);
  if (found == object_.end() || !found->is_number() || found->get<double>() < 0) {
    throw error(key, "a number from 0 on");
  }
  return found->get<double>();
}

int64_t JsonFields::count(const std::string& key) const {
  const auto found = object_.find(key);
  if (found == object_.end() || !found->is_number_integer() || found->get<int64_t>() < 0) {
    throw error(key, "a whole number from 0 on");
  }
  return found->get<int64_t>();
}

std::string JsonFields::text(const std::string& key) const {
  const auto found = object_.find(key);
  if (found == object_.end() || !found->is_string()) {
    throw error(key, "a text");
  }
  return found->get<std::string>();
}

const json& JsonFields::object(const std::string& key) const {
  static const json kEmpty = json::object();
  const auto found = object_.find(key);
  if (found == object_.end()) {
    return kEmpty;
  }
  if (!found->is_object()) {
    throw error(key, "an object");
  }
  return *found;
}

JsonFields JsonFields::inside(const std::string& key) const {
  return {object(key), fmt::format("{}: {}", place_, key)};
}

StorageError JsonFields::error(const std::string& key, const std::string& what) const {
  const auto found = object_.find(key);
  return StorageError(fmt::format("{}: expected {} as {}, found {}", place_, what, key,
                                  found == object_.end() ? "nothing" : shown(*found)));
}

json to_json(const DataHash& hash) {
  json record{{"data_hash", hash.manifest}};
  if (!hash.files.empty()) {
    record["files_hash"] = hash.files;
  }
  return record;
}

DataHash data_hash_of(const JsonFields& record) {
  DataHash hash{record.text("data_hash"), {}};
  const JsonFields files = record.inside("files_hash");
  for (const auto& [part, value] : record.object("files_hash").items()) {
    hash.files[part] = files.text(part);
  }
  return hash;
}

}  // namespace unbraid
