#pragma once

#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "unbraid/analysis/run_record.h"

namespace unbraid {

/// `value` with 5 significant digits; null where it is not finite.
nlohmann::json rounded(double value);

/// The runs of one label.
struct RunGroup {
  std::string label;
  std::string trained_alone;
  std::vector<const RunRecord*> runs;
};

/// A quantity of every group over the epochs: {"parts": [{"name", "series": [{"method": index of
/// the group, "mean", "low", "high" (of several runs), "runs" (where asked for)}]}]}, each a list
/// by `epochs`. The fused output of a modality that was trained alone is left out.
nlohmann::json curves_of(const std::vector<RunGroup>& groups,
                         std::map<std::string, PartValues> RunRecord::*kind,
                         const std::string& quantity, const std::vector<int64_t>& epochs,
                         bool each_run);

/// The names of the quantities that the runs have.
std::vector<std::string> quantities_of(const std::vector<RunGroup>& groups,
                                       std::map<std::string, PartValues> RunRecord::*kind);

/// The epochs at which runs have values, at most `most` of them, the last among them.
std::vector<int64_t> epochs_of(const std::vector<RunGroup>& groups,
                               std::map<std::string, PartValues> RunRecord::*kind, size_t most);

}  // namespace unbraid
