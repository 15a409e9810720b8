#include "unbraid/analysis/run_record.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "unbraid/analysis/verdict.h"
#include "unbraid/core/durable_file.h"
#include "unbraid/core/error.h"
#include "unbraid/training/json_file.h"
#include "unbraid/training/recipe.h"
#include "unbraid/training/recipe_keys.h"
#include "unbraid/training/toml.h"

namespace unbraid {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr uint64_t kMaxTextBytes = uint64_t{1} << 30;

/// A quantity of the fused output and what its "…_alone" has by modality.
void add_scores(PartValues& values, const std::string& name, int64_t epoch,
                const JsonFields& line) {
  if (line.has(name)) {
    values[""][epoch] = score_at(line, name, name);
  }
  const std::string key = name + "_alone";
  const JsonFields alone = line.inside(key);
  for (const auto& [modality, value] : line.object(key).items()) {
    values[modality][epoch] = score_at(alone, modality, name);
  }
}

std::map<std::string, PartValues> read_curves(const fs::path& path) {
  std::map<std::string, PartValues> curves;
  std::set<std::pair<int64_t, std::string>> seen;
  for_each_json_line(path, [&](const json& object, const std::string& place) {
    const JsonFields line(object, place);
    const int64_t epoch = line.count("epoch");
    const std::string split = line.text("split");
    if (!seen.emplace(epoch, split).second) {
      throw StorageError(
          fmt::format("{}: expected a line for each epoch and split, found a second "
                      "one for epoch {} of {}",
                      place, epoch, split));
    }
    if (split == "val") {
      for (const auto& [key, value] : object.items()) {
        if (!value.is_object() && key != "epoch" && key != "split") {
          add_scores(curves["val " + key], key, epoch, line);
        }
      }
    } else if (split == "train") {
      add_scores(curves["train loss"], "loss", epoch, line);
      constexpr std::string_view kEncoder = "encoders.";
      const JsonFields norms = line.inside("gradient_norm");
      for (const auto& [part, norm] : line.object("gradient_norm").items()) {
        if (part.starts_with(kEncoder)) {
          curves["gradient norm"][part.substr(kEncoder.size())][epoch] = norms.number(part);
        }
      }
    }
  });
  return curves;
}

std::map<std::string, PartValues> read_probes(const fs::path& path) {
  std::map<std::string, PartValues> probes;
  for (const ProbeLine& line : read_probe_lines(path)) {
    for (const auto& [modality, quantities] : line.modalities) {
      for (const auto& [quantity, value] : quantities) {
        probes[quantity][modality][line.epoch] = value;
      }
    }
  }
  return probes;
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

/// A matrix of counts with a row and a column for each of `classes`, of any number where that is 0.
void expect_confusion(const JsonFields& fields, const json& parent, const std::string& key,
                      size_t classes) {
  const json& matrix = parent.at(key);
  const size_t size = classes > 0 ? classes : matrix.size();
  const auto is_row = [&](const json& row) {
    return row.is_array() && row.size() == size &&
           std::all_of(row.begin(), row.end(),
                       [](const json& cell) { return cell.is_number_unsigned(); });
  };
  if (!matrix.is_array() || matrix.size() != size ||
      !std::all_of(matrix.begin(), matrix.end(), is_row)) {
    throw fields.error(key, fmt::format("a confusion matrix of counts, {} x {},", size, size));
  }
}

/// Of what read_result does not look at but a report shows.
void check_summary(const RunRecord& run) {
  const JsonFields fields(run.summary, (run.folder / "summary.json").string());
  static_cast<void>(fields.object("machine"));
  static_cast<void>(fields.object("versions"));
  for (const char* key : {"step_seconds_median", "loader_wait_fraction"}) {
    if (fields.has(key)) {
      static_cast<void>(fields.amount(key));
    }
  }
  const JsonFields confusion = fields.inside("confusion");
  if (confusion.has("fused")) {
    expect_confusion(confusion, fields.object("confusion"), "fused", run.classes.size());
  }
  const JsonFields alone = confusion.inside("alone");
  for (const auto& [modality, matrix] : confusion.object("alone").items()) {
    expect_confusion(alone, confusion.object("alone"), modality, run.classes.size());
  }
}

std::string label_of(const Value& recipe) {
  const std::string method = text_at(recipe, "method", "type");
  return method == "unimodal" ? text_at(recipe, "method", "modality") + " alone" : method;
}

}  // namespace

std::vector<ProbeLine> read_probe_lines(const fs::path& path) {
  std::vector<ProbeLine> lines;
  if (!fs::exists(path)) {
    return lines;
  }
  for_each_json_line(path, [&](const json& object, const std::string& place) {
    const JsonFields line(object, place);
    ProbeLine read{line.count("epoch"), {}};
    const JsonFields modalities = line.inside("modalities");
    for (const auto& [modality, quantities] : line.object("modalities").items()) {
      const JsonFields fields = modalities.inside(modality);
      for (const auto& [quantity, value] : modalities.object(modality).items()) {
        read.modalities[modality][quantity] = fields.number(quantity);
      }
    }
    lines.push_back(std::move(read));
  });
  return lines;
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
  run.settings = keys_of(resolve_again(run.recipe, (folder / "recipe.toml").string()));
  run.classes = class_names(recipe);
  if (text_at(recipe, "method", "type") == "unimodal") {
    run.trained_alone = text_at(recipe, "method", "modality");
  }
  run.result = read_result(folder, label_of(recipe));
  run.summary = read_json_object(summary);
  if (run.summary.contains("no_test")) {
    throw StorageError(fmt::format("{}: expected a run that was tested: {}", folder.string(),
                                   JsonFields(run.summary, summary.string()).text("no_test")));
  }
  check_summary(run);
  return run;
}

MissingRun read_unfinished(const fs::path& folder) {
  MissingRun missing{folder.filename().string(), -1, "not finished"};
  try {
    if (fs::exists(folder / "summary.json")) {
      missing.reason =
          "not tested: " + read_json_object(folder / "summary.json").value("no_test", "");
    }
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
