#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "unbraid/analysis/comparison.h"
#include "unbraid/training/recipe_keys.h"

namespace unbraid {

/// A quantity over the epochs of one run; NaN where the run has null.
using EpochValues = std::map<int64_t, double>;

/// Where a quantity was measured: the fused output is "", else a modality.
using PartValues = std::map<std::string, EpochValues>;

/// All that a finished run left in its folder, weights aside.
struct RunRecord {  // NOLINT(bugprone-exception-escape): to destroy JSON takes memory
  std::filesystem::path folder;
  RunResult result;  // labelled by method; "audio alone" where that modality was trained alone
  std::string trained_alone;  // the modality; "" for a fused model
  nlohmann::json summary;
  std::string recipe;  // as TOML
  RecipeKeys settings;
  std::vector<std::string> classes;  // names, of a classification; empty otherwise
  /// "val loss", "val accuracy", "train loss", "gradient norm": what metrics.jsonl has, by part.
  std::map<std::string, PartValues> curves;
  /// What probes.jsonl has, by modality; empty without that file.
  std::map<std::string, PartValues> probes;
};

/// What a run measured after one epoch.
struct ProbeLine {
  int64_t epoch = 0;
  std::map<std::string, std::map<std::string, double>> modalities;  // quantities by modality
};

/// Reads a probes.jsonl; nothing where there is no such file. Throws StorageError, which names line
/// and key, where it is damaged.
std::vector<ProbeLine> read_probe_lines(const std::filesystem::path& path);

/// Reads the finished run in `folder`. Throws StorageError, which names file and line, where that
/// is not one.
RunRecord read_run(const std::filesystem::path& folder);

/// A run that a comparison lacks.
struct MissingRun {
  std::string label;
  int64_t seed = -1;  // -1: unknown
  std::string reason;
};

/// What the recipe says of the run in `folder`, which is not finished; never throws.
MissingRun read_unfinished(const std::filesystem::path& folder);

/// The runs of a report. Labels tell apart what differs in how it learned: "dgl, method.alpha
/// = 1.0".
struct RunSelection {
  std::vector<RunRecord> runs;  // modalities trained alone first, then joint, then the rest
  std::vector<MissingRun> missing;
  std::map<std::string, std::string> trained_alone;  // label, by modality
};

/// `folders` are runs, which have to be finished, or hold runs, of which unfinished ones are
/// missing, as are seeds that others have. Throws StorageError where there are none, Error with
/// kUsage where two have the same settings and seed.
RunSelection select_runs(const std::vector<std::filesystem::path>& folders);

}  // namespace unbraid
