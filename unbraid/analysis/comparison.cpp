#include "unbraid/analysis/comparison.h"

#include <algorithm>
#include <cmath>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "unbraid/analysis/verdict.h"
#include "unbraid/core/error.h"
#include "unbraid/training/json_file.h"
#include "unbraid/training/run_directory.h"

namespace unbraid {
namespace {

using nlohmann::json;

constexpr const char* kSecond = "macro_f1";

/// What metrics.jsonl says of a run as a whole.
struct Lines {
  double seconds = 0;  // of training; a run that was stopped has lines of all of its parts
  json best;           // the line of val of the best epoch; null without one
  json test;           // null without one
};

Lines read_lines(const std::filesystem::path& metrics, int64_t best_epoch) {
  Lines lines;
  for_each_json_line(metrics, [&](const json& line, const std::string& place) {
    const JsonFields fields(line, place);
    const std::string split = fields.text("split");
    if (split == "train") {
      lines.seconds += fields.amount("seconds");
    } else if (split == "val" && fields.count("epoch") == best_epoch) {
      lines.best = line;
    } else if (split == "test") {
      lines.test = line;
    }
  });
  return lines;
}

/// A summary says again what metrics.jsonl says: one that does not was damaged, or is of another
/// run.
void expect_agreement(const JsonFields& summary, const json& fields, const Lines& lines,
                      const std::string& metric) {
  if (!lines.best.contains(metric)) {
    throw summary.error("best_epoch",
                        "an epoch of which metrics.jsonl has the " + metric + " on val");
  }
  if (lines.best.at(metric) != fields.at("best_val")) {
    throw summary.error("best_val", fmt::format("the {} on val of metrics.jsonl, {},", metric,
                                                lines.best.at(metric).dump()));
  }
  if (fields.contains(metric) && lines.test.is_null()) {
    throw summary.error(metric, "nothing without a line of test in metrics.jsonl");
  }
  for (const auto& [key, value] : lines.test.items()) {
    if (key != "epoch" && key != "split" && (!fields.contains(key) || fields.at(key) != value)) {
      throw summary.error(key, "what metrics.jsonl has of test");
    }
  }
}

using Seeds = std::map<int64_t, double>;

std::vector<double> values_of(const Seeds& seeds) {
  std::vector<double> values;
  for (const auto& [seed, value] : seeds) {
    values.push_back(value);
  }
  return values;
}

/// Of the seeds that both have.
Estimate paired(const Seeds& values, const Seeds& others) {
  std::vector<double> left;
  std::vector<double> right;
  for (const auto& [seed, value] : values) {
    if (const auto other = others.find(seed); other != others.end()) {
      left.push_back(value);
      right.push_back(other->second);
    }
  }
  return estimate_difference(left, right);
}

/// The results of one label, by seed.
struct Group {
  std::string label;
  std::map<int64_t, const RunResult*> results;
  Seeds fused;
  Seeds second;
  std::map<std::string, Seeds> alone;
  std::vector<double> seconds;
  std::vector<double> memory;
};

/// `is_alone`: a modality was trained alone, and what is fused is that modality.
void add(Group& group, const RunResult& result, bool is_alone) {
  group.results[result.seed] = &result;
  const auto found = result.fused.find(result.metric);
  if (!is_alone && found != result.fused.end()) {
    group.fused[result.seed] = found->second;
    if (const auto second = result.fused.find(kSecond); second != result.fused.end()) {
      group.second[result.seed] = second->second;
    }
  }
  for (const auto& [modality, metrics] : result.alone) {
    if (const auto value = metrics.find(result.metric); value != metrics.end()) {
      group.alone[modality][result.seed] = value->second;
    }
  }
  group.seconds.push_back(result.seconds);
  group.memory.push_back(result.peak_rss_mb);
}

/// In all seeds that both have, of one or more.
bool same_scores(const Group& group, const Group& other) {
  size_t same = 0;
  for (const auto& [seed, result] : group.results) {
    if (const auto found = other.results.find(seed); found != other.results.end()) {
      const RunResult& of_other = *found->second;
      if (!result->fused.contains("loss") || result->fused != of_other.fused ||
          result->alone != of_other.alone) {
        return false;
      }
      ++same;
    }
  }
  return same > 0;
}

/// `seen` has the files of the runs before: one of a modality alone knows its own.
void expect_same_data(const RunResult& result, const RunResult& first, DataHash& seen) {
  const std::string run = fmt::format("{}, seed {}", result.label, result.seed);
  if (const std::string what = difference_of_data(result.data, seen); !what.empty()) {
    throw DataError(
        fmt::format("{}: expected the data of the runs before, such as {}, seed {}; the {} "
                    "differ",
                    run, first.label, first.seed, what));
  }
  if (result.metric != first.metric) {
    throw DataError(fmt::format("{}: expected a run chosen by {}, found one chosen by {}", run,
                                first.metric, result.metric));
  }
  seen.files.insert(result.data.files.begin(), result.data.files.end());
}

}  // namespace

RunResult read_result(const std::filesystem::path& folder, const std::string& label) {
  RunResult result;
  result.label = label;
  const std::filesystem::path path = folder / "summary.json";
  const json summary = read_json_object(path);
  const JsonFields fields(summary, path.string());
  result.seed = fields.count("seed");
  result.metric = fields.text("best_by");
  result.smaller_is_better = fields.text("best_is") == "smallest";
  result.best_val = score_at(fields, "best_val", result.metric);
  result.peak_rss_mb = fields.amount("peak_rss_mb");
  result.data = data_hash_of(fields);
  if (fields.has("recipe_hash") &&
      fields.text("recipe_hash") != RunDirectory::open(folder).recipe_hash()) {
    throw fields.error("recipe_hash", "the hash of the recipe.toml beside it");
  }
  const JsonFields skipped = fields.inside("quarantined");
  for (const auto& [split, count] : fields.object("quarantined").items()) {
    result.skipped += skipped.count(split);
  }
  for (const auto& [key, value] : summary.items()) {
    constexpr std::string_view kAlone = "_alone";
    if (!key.ends_with(kAlone)) {
      continue;
    }
    const std::string metric = key.substr(0, key.size() - kAlone.size());
    result.fused[metric] = score_at(fields, metric, metric);
    const JsonFields alone = fields.inside(key);
    for (const auto& [modality, score] : fields.object(key).items()) {
      result.alone[modality][metric] = score_at(alone, modality, metric);
    }
  }
  const Lines lines = read_lines(folder / "metrics.jsonl", fields.count("best_epoch"));
  expect_agreement(fields, summary, lines, result.metric);
  result.seconds = lines.seconds;
  return result;
}

Comparison compare(const std::vector<RunResult>& results,
                   const std::map<std::string, std::string>& trained_alone,
                   const std::string& reference) {
  Comparison comparison;
  comparison.trained_alone = trained_alone;
  std::vector<Group> groups;
  std::set<std::string> modalities;
  const auto group_of = [&](const std::string& label) {
    return std::find_if(groups.begin(), groups.end(),
                        [&](const Group& group) { return group.label == label; });
  };
  DataHash seen = results.empty() ? DataHash() : results.front().data;
  for (const RunResult& result : results) {
    expect_same_data(result, results.front(), seen);
    comparison.skipping += result.skipped > 0 ? 1 : 0;
    if (group_of(result.label) == groups.end()) {
      groups.push_back({result.label, {}, {}, {}, {}, {}, {}});
    }
    const bool is_alone =
        std::any_of(trained_alone.begin(), trained_alone.end(),
                    [&](const auto& entry) { return entry.second == result.label; });
    add(*group_of(result.label), result, is_alone);
    for (const auto& [modality, metrics] : result.alone) {
      if (modalities.insert(modality).second) {
        comparison.modalities.push_back(modality);
      }
    }
  }
  if (results.empty()) {
    return comparison;
  }
  comparison.metric = results.front().metric;
  comparison.smaller_is_better = results.front().smaller_is_better;
  const auto referred = group_of(reference);
  comparison.reference = referred == groups.end() ? "" : reference;
  const double sign = results.front().smaller_is_better ? -1 : 1;
  for (const Group& group : groups) {
    ComparisonRow row;
    row.label = group.label;
    row.runs = group.seconds.size();
    row.fused = estimate(values_of(group.fused));
    row.second = estimate(values_of(group.second));
    row.seconds = estimate(group.seconds).mean;
    row.peak_rss_mb = estimate(group.memory).mean;
    if (row.second.count > 0) {
      comparison.second_metric = kSecond;
    }
    if (referred != groups.end() && group.label != reference) {
      row.difference = paired(group.fused, referred->fused);
      if (same_scores(group, *referred)) {
        comparison.like_reference.push_back(group.label);
      }
      for (const auto& [seed, value] : group.fused) {
        const auto other = referred->fused.find(seed);
        row.wins += other != referred->fused.end() && sign * value > sign * other->second ? 1 : 0;
      }
    }
    for (const auto& [modality, values] : group.alone) {
      row.alone[modality] = estimate(values_of(values));
      const auto label = trained_alone.find(modality);
      const auto alone = label == trained_alone.end() ? groups.end() : group_of(label->second);
      if (alone != groups.end() && alone->label != group.label && !group.fused.empty() &&
          alone->alone.contains(modality)) {
        row.gap[modality] = paired(alone->alone.at(modality), values);
      }
      if (row.difference.count > 0 && referred->alone.contains(modality)) {
        row.alone_difference[modality] = paired(values, referred->alone.at(modality));
      }
    }
    comparison.rows.push_back(std::move(row));
  }
  return comparison;
}

}  // namespace unbraid
