#include "unbraid/analysis/report.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include <fmt/format.h>

#include "unbraid/analysis/report_curves.h"
#include "unbraid/analysis/verdict.h"

namespace unbraid {
namespace {

using nlohmann::json;

constexpr size_t kCellsOfPage = 500'000;  // of the confusion matrices of modalities

json to_json(const Estimate& estimate) {
  return estimate.count == 0
             ? json()
             : json{rounded(estimate.mean), rounded(estimate.half_width), estimate.count};
}

json to_json(const std::map<std::string, Estimate>& estimates) {
  json object = json::object();
  for (const auto& [name, one] : estimates) {
    object[name] = to_json(one);
  }
  return object;
}

/// Over the runs whose summary has a number under `key`.
json estimate_of(const RunGroup& group, const std::string& key) {
  std::vector<double> values;
  for (const RunRecord* run : group.runs) {
    if (const auto found = run->summary.find(key);
        found != run->summary.end() && found->is_number()) {
      values.push_back(found->get<double>());
    }
  }
  return to_json(estimate(values));
}

std::vector<RunGroup> groups_of(const RunSelection& selection) {
  std::vector<RunGroup> groups;
  for (const RunRecord& run : selection.runs) {
    if (groups.empty() || groups.back().label != run.result.label) {
      groups.push_back({run.result.label, run.trained_alone, {}});
    }
    groups.back().runs.push_back(&run);
  }
  return groups;
}

/// Adds `more`, a matrix of the same classes, to `sum`.
void add_matrix(json& sum, const json& more) {
  if (sum.is_null()) {
    sum = more;
    return;
  }
  for (size_t row = 0; row < std::min(sum.size(), more.size()); ++row) {
    for (size_t column = 0; column < std::min(sum.size(), more.size()); ++column) {
      sum[row][column] = sum[row][column].get<int64_t>() + more[row][column].get<int64_t>();
    }
  }
}

/// Summed over the runs: {"fused": rows, "alone": {modality: rows}}; null without any.
json confusion_of(const RunGroup& group, size_t& cells_left) {
  json sum;
  size_t cells = 0;
  for (const RunRecord* run : group.runs) {
    const std::string place = (run->folder / "summary.json").string();
    const json& matrices = JsonFields(run->summary, place).object("confusion");
    if (matrices.contains("fused") && group.trained_alone.empty()) {
      add_matrix(sum["fused"], matrices.at("fused"));
    }
    for (const auto& [modality, matrix] : JsonFields(matrices, place).object("alone").items()) {
      add_matrix(sum["alone"][modality], matrix);
      cells += matrix.size() * matrix.size();
    }
  }
  cells /= group.runs.size();
  if (cells > cells_left) {
    return {};
  }
  cells_left -= cells;
  return sum;
}

json method_of(const RunGroup& group, const ComparisonRow& row, size_t& cells_left) {
  json method{{"label", group.label},
              {"trained_alone", group.trained_alone},
              {"fused", to_json(row.fused)},
              {"second", to_json(row.second)},
              {"difference", to_json(row.difference)},
              {"wins", row.wins},
              {"inside", to_json(row.alone)},
              {"gap", to_json(row.gap)},
              {"recovered", to_json(row.alone_difference)},
              {"best_epoch", estimate_of(group, "best_epoch")},
              {"memory", estimate_of(group, "peak_rss_mb")},
              {"step", estimate_of(group, "step_seconds_median")},
              {"wait", estimate_of(group, "loader_wait_fraction")},
              {"recipe", group.runs.front()->recipe},
              {"confusion", confusion_of(group, cells_left)}};
  std::vector<double> seconds;
  for (const RunRecord* run : group.runs) {
    method["seeds"].push_back(run->result.seed);
    seconds.push_back(run->result.seconds);
  }
  method["seconds"] = to_json(estimate(seconds));
  return method;
}

/// The settings in which methods differ: key and value by method, "" where it has none.
json differing_settings(const std::vector<RunGroup>& groups) {
  std::vector<std::string> keys;
  std::vector<std::map<std::string, std::string>> values;
  for (const RunGroup& group : groups) {
    values.emplace_back();
    for (const auto& [key, value] : group.runs.front()->settings) {
      values.back()[key] = value;
      if (std::find(keys.begin(), keys.end(), key) == keys.end()) {
        keys.push_back(key);
      }
    }
  }
  json rows = json::array();
  for (const std::string& key : keys) {
    json cells = json::array();
    std::set<std::string> distinct;
    for (auto& settings : values) {
      cells.push_back(settings[key]);
      distinct.insert(settings[key]);
    }
    if (distinct.size() > 1 && says_how_it_learned(key)) {
      rows.push_back({{"key", key}, {"values", std::move(cells)}});
    }
  }
  return rows;
}

json run_rows(const RunSelection& selection) {
  json rows = json::array();
  for (const RunRecord& run : selection.runs) {
    json alone = json::object();
    for (const auto& [modality, metrics] : run.result.alone) {
      if (const auto found = metrics.find(run.result.metric); found != metrics.end()) {
        alone[modality] = rounded(found->second);
      }
    }
    const auto fused = run.result.fused.find(run.result.metric);
    const bool has_fused = run.trained_alone.empty() && fused != run.result.fused.end();
    rows.push_back({{"label", run.result.label},
                    {"seed", run.result.seed},
                    {"folder", run.folder.lexically_normal().filename().string()},
                    {"best_epoch", run.summary.value("best_epoch", json())},
                    {"best_val", rounded(run.result.best_val)},
                    {"fused", has_fused ? rounded(fused->second) : json()},
                    {"alone", std::move(alone)},
                    {"seconds", rounded(run.result.seconds)},
                    {"memory", rounded(run.result.peak_rss_mb)}});
  }
  return rows;
}

/// What the runs ran on, each kind once.
json machines_of(const RunSelection& selection) {
  json machines = json::array();
  for (const RunRecord& run : selection.runs) {
    json machine{{"machine", run.summary.value("machine", json::object())},
                 {"versions", run.summary.value("versions", json::object())}};
    const auto known = std::find_if(machines.begin(), machines.end(), [&](const json& other) {
      return other["machine"] == machine["machine"] && other["versions"] == machine["versions"];
    });
    if (known == machines.end()) {
      machine["runs"] = 1;
      machines.push_back(std::move(machine));
    } else {
      (*known)["runs"] = (*known)["runs"].get<int>() + 1;
    }
  }
  return machines;
}

json verdict_of(const Comparison& comparison) {
  constexpr std::array kKinds{"loss", "gain", "silence"};
  json list = json::array();
  for (const Statement& statement : verdict(comparison)) {
    list.push_back(
        {{"kind", kKinds.at(static_cast<size_t>(statement.kind))}, {"text", statement.text}});
  }
  return list;
}

/// What identifies the data: its source or the name of the manifest.
std::string data_name(const RunRecord& run) {
  for (const auto& [key, value] : run.settings) {
    if ((key == "data.source" || key == "data.manifest") && value.size() > 2) {
      const std::string text = value.substr(1, value.size() - 2);
      return std::filesystem::path(text).filename().string();
    }
  }
  return "";
}

/// The order that the run's recipe has them in.
void put_in_order(std::vector<std::string>& modalities, const RunRecord& run) {
  std::stable_sort(
      modalities.begin(), modalities.end(), [&](const std::string& left, const std::string& right) {
        const auto place = [&](const std::string& name) {
          const std::string table = "modalities." + name + ".";
          return std::find_if(run.settings.begin(), run.settings.end(),
                              [&](const auto& entry) { return entry.first.starts_with(table); });
        };
        return place(left) < place(right);
      });
}

}  // namespace

json report_data(const RunSelection& selection) {
  std::vector<RunResult> results;
  for (const RunRecord& run : selection.runs) {
    results.push_back(run.result);
    const auto compared = selection.trained_alone.find(run.trained_alone);
    if (compared != selection.trained_alone.end() && compared->second != run.result.label) {
      results.back().fused.clear();  // no fused model either
    }
  }
  Comparison comparison = compare(results, selection.trained_alone);
  put_in_order(comparison.modalities, selection.runs.back());
  const std::vector<RunGroup> groups = groups_of(selection);
  const RunRecord& first = selection.runs.back();  // a fused model, where there is one
  json data{{"version", UNBRAID_VERSION},
            {"metric",
             {{"name", comparison.metric},
              {"share", is_share(comparison.metric)},
              {"smaller_is_better", comparison.smaller_is_better}}},
            {"second", comparison.second_metric},
            {"reference", comparison.reference},
            {"modalities", comparison.modalities},
            {"trained_alone", comparison.trained_alone},
            {"data", {{"name", data_name(first)}, {"hash", first.result.data.manifest}}},
            {"classes", first.classes},
            {"verdict", verdict_of(comparison)},
            {"methods", json::array()},
            {"differing", differing_settings(groups)},
            {"curves", learning_curves(groups, comparison.metric)},
            {"gradients", gradients(groups)},
            {"runs", run_rows(selection)},
            {"missing", json::array()},
            {"machines", machines_of(selection)}};
  size_t cells_left = kCellsOfPage;
  for (size_t i = 0; i < groups.size(); ++i) {
    data["methods"].push_back(method_of(groups[i], comparison.rows[i], cells_left));
  }
  for (const MissingRun& run : selection.missing) {
    data["missing"].push_back({{"label", run.label},
                               {"seed", run.seed < 0 ? json() : json(run.seed)},
                               {"reason", run.reason}});
  }
  return data;
}

std::string as_script(const json& data) {
  const std::string text = data.dump(-1, ' ', false, json::error_handler_t::replace);
  std::string escaped;
  escaped.reserve(text.size());
  for (const char character : text) {
    switch (character) {
      case '<':
        escaped += "\\u003c";
        break;
      case '>':
        escaped += "\\u003e";
        break;
      case '&':
        escaped += "\\u0026";
        break;
      default:
        escaped += character;
    }
  }
  return escaped;
}

}  // namespace unbraid
