#include <algorithm>
#include <set>
#include <tuple>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "unbraid/analysis/run_record.h"
#include "unbraid/core/error.h"
#include "unbraid/training/run_directory.h"

namespace unbraid {
namespace {

namespace fs = std::filesystem;

std::string value_of(const RecipeKeys& settings, const std::string& key) {
  const auto found = std::find_if(settings.begin(), settings.end(),
                                  [&](const auto& entry) { return entry.first == key; });
  return found == settings.end() ? "" : found->second;
}

/// Gives runs of one label whose settings differ labels that say in what.
void tell_variants_apart(std::vector<RunRecord>& runs) {
  std::map<std::string, std::vector<RunRecord*>> groups;
  for (RunRecord& run : runs) {
    groups[run.result.label].push_back(&run);
  }
  for (const auto& [label, group] : groups) {
    std::vector<std::string> differing;
    for (const RunRecord* run : group) {
      for (const auto& [key, value] : run->settings) {
        const bool known = std::find(differing.begin(), differing.end(), key) != differing.end();
        const bool differs =
            std::any_of(group.begin(), group.end(), [&, &key = key, &value = value](auto* other) {
              return value_of(other->settings, key) != value;
            });
        if (says_how_it_learned(key) && !known && differs) {
          differing.push_back(key);
        }
      }
    }
    for (RunRecord* run : group) {
      for (const std::string& key : differing) {
        const std::string value = value_of(run->settings, key);
        run->result.label += fmt::format(", {} {}", key, value.empty() ? "not set" : "= " + value);
      }
    }
  }
}

/// Of several kinds of runs of one modality alone, what fused models are compared with is the one
/// that is best on val.
std::string best_on_val(const std::vector<RunRecord>& runs, const std::string& modality) {
  std::map<std::string, std::vector<double>> values;
  bool smaller = false;
  for (const RunRecord& run : runs) {
    if (run.trained_alone == modality) {
      values[run.result.label].push_back(run.result.best_val);
      smaller = run.result.smaller_is_better;
    }
  }
  const auto best =
      std::max_element(values.begin(), values.end(), [&](const auto& left, const auto& right) {
        const double difference = estimate(left.second).mean - estimate(right.second).mean;
        return smaller ? difference > 0 : difference < 0;
      });
  return best->first;
}

int rank_of(const RunRecord& run) {
  return !run.trained_alone.empty() ? 0 : run.result.label.starts_with("joint") ? 1 : 2;
}

/// So that a folder given twice, itself or within another, is one: named before all are read.
void expect_each_once(const std::vector<fs::path>& folders) {
  std::set<fs::path> seen;
  for (const fs::path& folder : folders) {
    if (!seen.insert(fs::canonical(folder)).second) {
      throw Error(ExitCode::kUsage, folder.string() + ": expected each run once, got it twice");
    }
  }
}

}  // namespace

RunSelection select_runs(const std::vector<fs::path>& folders) {
  RunSelection selection;
  std::vector<fs::path> finished;
  for (const fs::path& folder : folders) {
    if (!fs::is_directory(folder)) {
      throw StorageError(folder.string() + ": expected the folder of a run or of a comparison");
    }
    if (fs::exists(folder / "recipe.toml")) {
      finished.push_back(folder);
      continue;
    }
    std::vector<fs::path> inside;
    for (const auto& entry : fs::directory_iterator(folder)) {
      if (fs::exists(entry.path() / "recipe.toml")) {
        inside.push_back(entry.path());
      }
    }
    std::sort(inside.begin(), inside.end());
    const size_t before = finished.size();
    for (const fs::path& run : inside) {
      if (RunDirectory::open(run).is_finished()) {
        finished.push_back(run);
      } else {
        selection.missing.push_back(read_unfinished(run));
      }
    }
    if (finished.size() == before) {
      throw StorageError(fmt::format("{}: expected a run, or a folder with finished runs, found {}",
                                     folder.string(),
                                     inside.empty() ? "none" : "unfinished ones alone"));
    }
  }
  expect_each_once(finished);
  for (const fs::path& folder : finished) {
    selection.runs.push_back(read_run(folder));
  }
  tell_variants_apart(selection.runs);
  auto& runs = selection.runs;
  std::stable_sort(runs.begin(), runs.end(), [](const RunRecord& left, const RunRecord& right) {
    const auto key = [](const RunRecord& run) {
      return std::make_tuple(rank_of(run), run.result.label, run.result.seed);
    };
    return key(left) < key(right);
  });
  std::map<std::string, std::set<int64_t>> seeds_by_label;
  std::set<int64_t> seeds;
  for (const RunRecord& run : runs) {
    if (!seeds_by_label[run.result.label].insert(run.result.seed).second) {
      throw Error(ExitCode::kUsage,
                  fmt::format("{}: is {}, seed {}, of which there is one among the runs already",
                              run.folder.string(), run.result.label, run.result.seed));
    }
    seeds.insert(run.result.seed);
    if (!run.trained_alone.empty()) {
      selection.trained_alone[run.trained_alone] = best_on_val(runs, run.trained_alone);
    }
  }
  for (const auto& [label, present] : seeds_by_label) {
    for (const int64_t seed : seeds) {
      const bool known = std::any_of(selection.missing.begin(), selection.missing.end(),
                                     [&, &label = label](const MissingRun& run) {
                                       return run.label == label && run.seed == seed;
                                     });
      if (!present.contains(seed) && !known) {
        selection.missing.push_back({label, seed, "no finished run"});
      }
    }
  }
  return selection;
}

}  // namespace unbraid
