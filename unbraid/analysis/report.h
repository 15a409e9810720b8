#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "unbraid/analysis/run_record.h"

namespace unbraid {

/// What the page of a report shows, as web/src reads it: the verdict, the comparison, curves over
/// the epochs (the mean over the seeds, the smallest and the largest, and while there are few each
/// run), confusion matrices summed over the seeds, cost, settings. Numbers have 5 digits and curves
/// at most 100 points, so that hundreds of runs stay a few MB. Throws DataError as `compare`.
nlohmann::json report_data(const RunSelection& selection);

/// `data` as text that an HTML page may hold in a <script> of type application/json: no "<", ">" or
/// "&", bytes that are no UTF-8 replaced.
std::string as_script(const nlohmann::json& data);

}  // namespace unbraid
