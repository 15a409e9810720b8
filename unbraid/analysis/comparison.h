#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "unbraid/analysis/statistics.h"
#include "unbraid/data/data_hash.h"

namespace unbraid {

/// What a finished run found on test with the epoch that was chosen on val.
struct RunResult {
  std::string label;  // of its method
  int64_t seed = 0;
  std::string metric;                                          // that chose the epoch
  bool smaller_is_better = false;                              // of `metric`
  double best_val = 0;                                         // of `metric`
  std::map<std::string, double> fused;                         // by metric; empty: no test split
  std::map<std::string, std::map<std::string, double>> alone;  // by modality and metric
  double seconds = 0;  // of its training epochs, validation not included
  double peak_rss_mb = 0;
  DataHash data;
  int64_t skipped = 0;  // samples that could not be read, of all splits
};

/// Reads the run in `folder`. Throws StorageError, which names file and key, where it is not
/// finished or not one of ours.
RunResult read_result(const std::filesystem::path& folder, const std::string& label);

/// One method of a comparison over its seeds; estimates are of the metric that chose, unless they
/// say otherwise.
struct ComparisonRow {
  std::string label;
  size_t runs = 0;
  Estimate fused;       // count 0 where one modality was trained alone
  Estimate second;      // macro_f1, of a classification
  Estimate difference;  // to the reference method, paired by seed; count 0 for itself
  size_t wins = 0;      // seeds at which it is better than the reference
  std::map<std::string, Estimate> alone;  // of each modality inside the model
  std::map<std::string, Estimate> gap;    // trained alone minus inside the fused model, by seed
  std::map<std::string, Estimate> alone_difference;  // of `alone` to the reference, as `difference`
  double seconds = 0;                                // means
  double peak_rss_mb = 0;
};

/// Methods side by side.
struct Comparison {
  std::string metric;
  bool smaller_is_better = false;
  std::string reference;      // "joint", or "" where that is not among the methods
  std::string second_metric;  // "macro_f1", or "" without one
  std::vector<std::string> modalities;
  std::map<std::string, std::string> trained_alone;  // as given to compare
  std::vector<ComparisonRow> rows;                   // in the order of their first results
  size_t skipping = 0;  // runs that left out samples which cannot be read
  /// Methods with the reference's scores, its losses too, at every seed: in these epochs they did
  /// nothing of their own.
  std::vector<std::string> like_reference;
};

/// `trained_alone[m]` is the label of the runs that train modality m alone. Throws DataError when
/// runs saw other data than the first, or were chosen by another metric.
Comparison compare(const std::vector<RunResult>& results,
                   const std::map<std::string, std::string>& trained_alone,
                   const std::string& reference = "joint");

/// As a table: for a terminal, in Markdown, in LaTeX (booktabs), each with ± the half width of the
/// 95 % interval.
std::string to_text(const Comparison& comparison);
std::string to_markdown(const Comparison& comparison);
std::string to_latex(const Comparison& comparison);
/// One row a method, each estimate as mean, lower and upper end.
std::string to_csv(const Comparison& comparison);
/// One row a run.
std::string runs_to_csv(const std::vector<RunResult>& results);

}  // namespace unbraid
