#include "unbraid/analysis/run_record.h"

#include <cmath>
#include <functional>
#include <sstream>

#include <fmt/format.h>

#include "unbraid/core/durable_file.h"
#include "unbraid/core/error.h"
#include "unbraid/training/toml.h"

namespace unbraid {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr uint64_t kMaxTextBytes = uint64_t{1} << 30;

/// Calls `use` with each line of a file of JSON objects.
void read_lines(const fs::path& path, const std::function<void(const json&)>& use) {
  std::istringstream lines(read_whole_file(path, kMaxTextBytes));
  size_t number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    try {
      use(json::parse(line));
    } catch (const json::exception& problem) {
      throw StorageError(fmt::format("{}:{}: expected the JSON object of an epoch: {}",
                                     path.string(), number, problem.what()));
    }
  }
}

void add(PartValues& values, const std::string& part, int64_t epoch, const json& value) {
  if (value.is_number() || value.is_null()) {
    values[part][epoch] = value.is_null() ? std::nan("") : value.get<double>();
  }
}

/// A quantity of the fused output and what its "…_alone" has by modality.
void add_scores(PartValues& values, const std::string& name, int64_t epoch, const json& line) {
  if (line.contains(name)) {
    add(values, "", epoch, line.at(name));
  }
  for (const auto& [modality, value] : object_at(line, name + "_alone").items()) {
    add(values, modality, epoch, value);
  }
}

std::map<std::string, PartValues> read_curves(const fs::path& path) {
  std::map<std::string, PartValues> curves;
  read_lines(path, [&](const json& line) {
    const auto epoch = line.at("epoch").get<int64_t>();
    const auto split = line.at("split").get<std::string>();
    if (split == "val") {
      for (const auto& [key, value] : line.items()) {
        if (value.is_number() && key != "epoch") {
          add_scores(curves["val " + key], key, epoch, line);
        }
      }
    } else if (split == "train") {
      add_scores(curves["train loss"], "loss", epoch, line);
      constexpr std::string_view kEncoder = "encoders.";
      for (const auto& [part, norm] : object_at(line, "gradient_norm").items()) {
        if (part.starts_with(kEncoder)) {
          add(curves["gradient norm"], part.substr(kEncoder.size()), epoch, norm);
        }
      }
    }
  });
  return curves;
}

std::map<std::string, PartValues> read_probes(const fs::path& path) {
  std::map<std::string, PartValues> probes;
  if (!fs::exists(path)) {
    return probes;
  }
  read_lines(path, [&](const json& line) {
    const auto epoch = line.at("epoch").get<int64_t>();
    for (const auto& [modality, quantities] : line.at("modalities").items()) {
      for (const auto& [quantity, value] : quantities.items()) {
        add(probes[quantity], modality, epoch, value);
      }
    }
  });
  return probes;
}

/// The lines of a resolved recipe with the tables in front of the keys.
std::vector<std::pair<std::string, std::string>> flattened(const std::string& toml) {
  std::vector<std::pair<std::string, std::string>> settings;
  std::istringstream lines(toml);
  std::string table;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("[") && line.ends_with("]")) {
      table = line.substr(1, line.size() - 2) + ".";
    } else if (const size_t equals = line.find(" = "); equals != std::string::npos) {
      settings.emplace_back(table + line.substr(0, equals), line.substr(equals + 3));
    }
  }
  return settings;
}

const Value* value_at(const Value& root, const std::string& table, const std::string& key) {
  const auto& entries = *std::get<Value::TablePointer>(root.data);
  const Value* found = find(entries, table);
  const auto* inner = found == nullptr ? nullptr : std::get_if<Value::TablePointer>(&found->data);
  return inner == nullptr ? nullptr : find(**inner, key);
}

std::string text_at(const Value& root, const std::string& table, const std::string& key) {
  const Value* value = value_at(root, table, key);
  const auto* text = value == nullptr ? nullptr : std::get_if<std::string>(&value->data);
  return text == nullptr ? "" : *text;
}

std::vector<std::string> class_names(const Value& root) {
  std::vector<std::string> names;
  const Value* classes = value_at(root, "task", "classes");
  if (classes == nullptr || text_at(root, "task", "type") != "classification") {
    return names;
  }
  if (const auto* count = std::get_if<int64_t>(&classes->data)) {
    constexpr int64_t kMost = 1000;
    for (int64_t index = 0; index < std::min(*count, kMost); ++index) {
      names.push_back(std::to_string(index));
    }
  } else if (const auto* list = std::get_if<Value::List>(&classes->data)) {
    for (const Value& name : *list) {
      const auto* text = std::get_if<std::string>(&name.data);
      names.push_back(text == nullptr ? "?" : *text);
    }
  }
  return names;
}

std::string label_of(const Value& recipe) {
  const std::string method = text_at(recipe, "method", "type");
  return method == "unimodal" ? text_at(recipe, "method", "modality") + " alone" : method;
}

}  // namespace

const json& object_at(const json& parent, const std::string& key) {
  static const json kEmpty = json::object();
  const auto found = parent.find(key);
  return found != parent.end() && found->is_object() ? *found : kEmpty;
}

RunRecord read_run(const fs::path& folder) {
  RunRecord run;
  run.folder = folder;
  const fs::path summary = folder / "summary.json";
  if (!fs::exists(folder / "recipe.toml")) {
    throw StorageError(folder.string() + ": expected a run's folder, but it has no recipe.toml");
  }
  if (!fs::exists(summary)) {
    throw StorageError(folder.string() +
                       ": expected a finished run, but it has no summary.json; \"unbraid train "
                       "--resume\" continues it");
  }
  run.curves = read_curves(folder / "metrics.jsonl");
  run.probes = read_probes(folder / "probes.jsonl");
  run.recipe = read_whole_file(folder / "recipe.toml", kMaxTextBytes);
  const Value recipe = parse_toml(run.recipe, (folder / "recipe.toml").string());
  run.settings = flattened(write_toml(recipe));
  run.classes = class_names(recipe);
  if (text_at(recipe, "method", "type") == "unimodal") {
    run.trained_alone = text_at(recipe, "method", "modality");
  }
  run.result = read_result(folder, label_of(recipe));
  run.summary = json::parse(read_whole_file(summary, kMaxTextBytes));
  return run;
}

MissingRun read_unfinished(const fs::path& folder) {
  MissingRun missing{folder.filename().string(), -1, "not finished"};
  try {
    const fs::path path = folder / "recipe.toml";
    const Value recipe = parse_toml(read_whole_file(path, kMaxTextBytes), path.string());
    missing.label = label_of(recipe);
    const Value* seed = find(*std::get<Value::TablePointer>(recipe.data), "seed");
    missing.seed = seed == nullptr ? -1 : std::get<int64_t>(seed->data);
  } catch (const std::exception&) {
    // Named by what is known of it.
  }
  return missing;
}

}  // namespace unbraid
