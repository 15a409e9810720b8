#pragma once

#include <map>
#include <string>
#include <vector>

#include "unbraid/core/batch.h"
#include "unbraid/training/run_directory.h"

namespace unbraid {

/// The samples of a run that were skipped because they cannot be read: quarantine.csv in its
/// folder, with the columns id, split, reason.
class Quarantine {
 public:
  /// Continues the list of a run that is resumed.
  Quarantine(RunDirectory& directory, double max_share);

  /// Of a split that is read anew, as test is by a run that is resumed.
  void forget(const std::string& split);
  /// Notes samples of `split`, which holds `size` in all; writes new ones to the file. Throws
  /// DataError, the file being written, when more than the share allowed of the split is skipped.
  void add(const std::string& split, const std::vector<SkippedSample>& samples, size_t size);
  /// By split.
  [[nodiscard]] std::map<std::string, size_t> counts() const;

 private:
  void write() const;

  RunDirectory& directory_;
  double max_share_;
  std::map<std::string, std::map<std::string, std::string>> reasons_;  // by split, by id
};

}  // namespace unbraid
