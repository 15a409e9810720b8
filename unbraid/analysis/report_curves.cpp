#include "unbraid/analysis/report_curves.h"

#include <algorithm>
#include <cmath>
#include <set>

#include <fmt/format.h>

namespace unbraid {
namespace {

using nlohmann::json;

json values_at(const std::vector<int64_t>& epochs, const EpochValues& values) {
  json list = json::array();
  for (const int64_t epoch : epochs) {
    const auto found = values.find(epoch);
    list.push_back(found == values.end() ? json() : rounded(found->second));
  }
  return list;
}

json series_of(const std::vector<const EpochValues*>& runs, const std::vector<int64_t>& epochs,
               bool each_run) {
  EpochValues mean;
  EpochValues low;
  EpochValues high;
  for (const int64_t epoch : epochs) {
    std::vector<double> values;
    for (const EpochValues* run : runs) {
      const auto found = run->find(epoch);
      if (found != run->end() && std::isfinite(found->second)) {
        values.push_back(found->second);
      }
    }
    if (!values.empty()) {
      mean[epoch] = estimate(values).mean;
      low[epoch] = *std::min_element(values.begin(), values.end());
      high[epoch] = *std::max_element(values.begin(), values.end());
    }
  }
  json series{{"mean", values_at(epochs, mean)}};
  if (runs.size() > 1) {
    series["low"] = values_at(epochs, low);
    series["high"] = values_at(epochs, high);
    for (const EpochValues* run : runs) {
      if (each_run) {
        series["runs"].push_back(values_at(epochs, *run));
      }
    }
  }
  return series;
}

}  // namespace

json rounded(double value) {
  return std::isfinite(value) ? json(std::stod(fmt::format("{:.5g}", value))) : json();
}

json curves_of(const std::vector<RunGroup>& groups,
               std::map<std::string, PartValues> RunRecord::*kind, const std::string& quantity,
               const std::vector<int64_t>& epochs, bool each_run) {
  std::map<std::string, json> parts;
  for (size_t method = 0; method < groups.size(); ++method) {
    std::map<std::string, std::vector<const EpochValues*>> runs;
    for (const RunRecord* run : groups[method].runs) {
      const auto found = (run->*kind).find(quantity);
      if (found == (run->*kind).end()) {
        continue;
      }
      for (const auto& [part, values] : found->second) {
        if (!part.empty() || groups[method].trained_alone.empty()) {
          runs[part].push_back(&values);
        }
      }
    }
    for (const auto& [part, of_part] : runs) {
      json series = series_of(of_part, epochs, each_run);
      series["method"] = method;
      parts[part].push_back(std::move(series));
    }
  }
  json list = json::array();
  for (auto& [name, series] : parts) {
    list.push_back({{"name", name}, {"series", std::move(series)}});
  }
  return list;
}

std::vector<std::string> quantities_of(const std::vector<RunGroup>& groups,
                                       std::map<std::string, PartValues> RunRecord::*kind) {
  std::set<std::string> names;
  for (const RunGroup& group : groups) {
    for (const RunRecord* run : group.runs) {
      for (const auto& [name, parts] : run->*kind) {
        names.insert(name);
      }
    }
  }
  return {names.begin(), names.end()};
}

std::vector<int64_t> epochs_of(const std::vector<RunGroup>& groups,
                               std::map<std::string, PartValues> RunRecord::*kind, size_t most) {
  std::set<int64_t> all;
  for (const RunGroup& group : groups) {
    for (const RunRecord* run : group.runs) {
      for (const auto& [name, parts] : run->*kind) {
        for (const auto& [part, values] : parts) {
          for (const auto& [epoch, value] : values) {
            all.insert(epoch);
          }
        }
      }
    }
  }
  const std::vector<int64_t> sorted(all.begin(), all.end());
  std::vector<int64_t> kept;
  const size_t stride = (sorted.size() + most - 1) / most;
  for (size_t i = 0; i < sorted.size(); ++i) {
    if ((sorted.size() - 1 - i) % stride == 0) {
      kept.push_back(sorted[i]);
    }
  }
  return kept;
}

}  // namespace unbraid
