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

/// Metrics and losses of every group over at most 100 epochs: {"epochs", "quantities": [{"name",
/// "share", "parts": [{"name": "" for the fused output or a modality, "series": [{"method": index
/// of the group, "mean", "low", "high" (of several runs), "runs" (of `metric` on val)}]}]}]}, each
/// series a list by epoch. The fused output of a modality that was trained alone is left out.
nlohmann::json learning_curves(const std::vector<RunGroup>& groups, const std::string& metric);

/// What probes measured and norms of gradients, as quantities with "epochs", "meaning" and "line",
/// a value to compare with, of their own; and "probed", whether there were probes.
nlohmann::json gradients(const std::vector<RunGroup>& groups);

}  // namespace unbraid
