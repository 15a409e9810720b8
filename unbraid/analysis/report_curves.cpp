#include "unbraid/analysis/report_curves.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include <fmt/format.h>

#include "unbraid/analysis/verdict.h"

namespace unbraid {
namespace {

using nlohmann::json;

constexpr size_t kMostPoints = 100;        // of a curve
constexpr size_t kPointsOfPage = 250'000;  // of all curves, roughly

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

/// What a probe measures; the keys are those of probes.jsonl.
struct Probe {
  const char* key;
  const char* title;
  const char* meaning;
};

constexpr std::array kProbes{
    Probe{"feature_ratio", "Gradient at the feature, multimodal / unimodal loss",
          "Below 1 the fusion module shrinks the gradient that the encoder learns from."},
    Probe{"share_below_one", "Share of samples with a ratio below 1",
          "For how many samples the fusion module shrinks the gradient at the feature."},
    Probe{"feature_cosine", "Cosine of the two gradients at the feature",
          "At 1 both losses pull the feature the same way, at -1 against each other."},
    Probe{"encoder_ratio", "Gradient of the encoder's parameters, multimodal / unimodal loss",
          "Below 1 the encoder gets less gradient from the multimodal loss than from its own."},
    Probe{"encoder_cosine", "Cosine of the two gradients of the encoder's parameters",
          "At 1 both losses pull the encoder the same way, at -1 against each other."},
    Probe{"closed_form_ratio",
          "Gradient at the feature by the closed form, multimodal / unimodal loss",
          "From the outputs alone; of classification with the fusion concat or sum."},
};

/// A quantity of every group by part of the model: [{"name", "series": [{"method": index of the
/// group, "mean", "low", "high" (of several runs), "runs" (where asked for)}]}], each a list by
/// `epochs`. The fused output of a modality that was trained alone is left out.
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

/// The names of the quantities that the runs have.
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

/// The epochs at which runs have values, at most `most` of them, the last among them.
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

}  // namespace

json rounded(double value) {
  return std::isfinite(value) ? json(std::stod(fmt::format("{:.5g}", value))) : json();
}

json learning_curves(const std::vector<RunGroup>& groups, const std::string& metric) {
  constexpr auto kKind = &RunRecord::curves;
  const auto names = quantities_of(groups, kKind);
  size_t parts = 1;
  for (const RunGroup& group : groups) {
    parts = std::max(parts, group.runs.front()->result.alone.size() + 1);
  }
  const size_t series = 3 * groups.size() * parts * std::max<size_t>(names.size(), 1);
  const auto epochs =
      epochs_of(groups, kKind, std::clamp(kPointsOfPage / series, size_t{20}, kMostPoints));
  const std::string chosen = "val " + metric;
  json quantities = json::array();
  for (const std::string& name : names) {
    if (name == "gradient norm") {
      continue;
    }
    const std::string of = name.substr(name.find(' ') + 1);
    json quantity{{"name", of + " on " + name.substr(0, name.find(' '))},
                  {"share", is_share(of)},
                  {"parts", curves_of(groups, kKind, name, epochs, name == chosen)}};
    quantities.insert(name == chosen ? quantities.begin() : quantities.end(), std::move(quantity));
  }
  return {{"epochs", epochs}, {"quantities", std::move(quantities)}};
}

json gradients(const std::vector<RunGroup>& groups) {
  json quantities = json::array();
  const auto probed = epochs_of(groups, &RunRecord::probes, kMostPoints);
  for (const Probe& probe : kProbes) {
    json parts = curves_of(groups, &RunRecord::probes, probe.key, probed, false);
    if (!parts.empty()) {
      const std::string key = probe.key;
      quantities.push_back({{"name", probe.title},
                            {"meaning", probe.meaning},
                            {"share", key == "share_below_one"},
                            {"line", key.ends_with("ratio") ? json(1) : json()},
                            {"epochs", probed},
                            {"parts", std::move(parts)}});
    }
  }
  const auto epochs = epochs_of(groups, &RunRecord::curves, kMostPoints);
  json norms = curves_of(groups, &RunRecord::curves, "gradient norm", epochs, false);
  if (!norms.empty()) {
    quantities.push_back({{"name", "Norm of the gradient that trains the encoder"},
                          {"meaning", "Mean over the steps of an epoch, before clipping."},
                          {"share", false},
                          {"line", json()},
                          {"epochs", epochs},
                          {"parts", std::move(norms)}});
  }
  return {{"probed", !probed.empty()}, {"quantities", std::move(quantities)}};
}

}  // namespace unbraid
