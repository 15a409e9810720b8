#include "unbraid/training/quarantine.h"

#include <fmt/format.h>

#include "unbraid/core/error.h"
#include "unbraid/data/csv.h"

namespace unbraid {

Quarantine::Quarantine(RunDirectory& directory, double max_share)
    : directory_(directory), max_share_(max_share) {
  CsvReader csv(directory.quarantine(), (directory.path() / "quarantine.csv").string());
  std::vector<std::string> fields;
  csv.next(fields);  // the header
  while (csv.next(fields)) {
    if (fields.size() == 3) {
      reasons_[fields[1]][fields[0]] = fields[2];
    }
  }
}

void Quarantine::forget(const std::string& split) {
  if (reasons_.erase(split) > 0) {
    write();
  }
}

void Quarantine::add(const std::string& split, const std::vector<SkippedSample>& samples,
                     size_t size) {
  auto& reasons = reasons_[split];
  const size_t before = reasons.size();
  for (const SkippedSample& sample : samples) {
    reasons.emplace(sample.id, sample.reason);
  }
  if (reasons.size() > before) {
    write();
  }
  if (static_cast<double>(reasons.size()) > max_share_ * static_cast<double>(size)) {
    throw DataError(fmt::format(
        "{} of the {} samples of {} cannot be read, more than data.max_skipped ({}) allows; the "
        "first: {}",
        reasons.size(), size, split, max_share_, reasons.begin()->second));
  }
}

void Quarantine::write() const {
  std::string lines;
  for (const auto& [name, entries] : reasons_) {
    for (const auto& [id, reason] : entries) {
      lines += fmt::format("{},{},{}\n", csv_field(id), name, csv_field(reason));
    }
  }
  directory_.write_quarantine(lines.empty() ? "" : "id,split,reason\n" + lines);
}

std::map<std::string, size_t> Quarantine::counts() const {
  std::map<std::string, size_t> counts;
  for (const auto& [split, entries] : reasons_) {
    if (!entries.empty()) {
      counts[split] = entries.size();
    }
  }
  return counts;
}

}  // namespace unbraid
