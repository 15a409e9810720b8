#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "unbraid/data/manifest.h"

namespace unbraid {

struct PrepareOptions {
  std::filesystem::path raw;  // the data set as it was published
  /// Published lists of ids by split; without any, the data set's own or a split that does not
  /// leak.
  std::vector<std::pair<Split, std::filesystem::path>> split_lists;
  uint64_t seed = 0;               // of the splits that are made
  std::optional<int64_t> classes;  // how many there are to be; else the data set's number
  bool scores =
      false;  // labels are the scores that classes are made of, where the data set has them
};

struct PreparedSample {
  std::string id;
  std::optional<Split> split;  // none: not in any list
  std::string label;
  /// By modality, absolute paths (see Decoder::resolve for pairs) or rows of its table.
  std::vector<std::string> cells;
};

/// Numbers of all samples that become one .npy file beside the manifest, whose cells are its rows.
struct PreparedTable {
  std::string modality;
  std::vector<int64_t> shape;  // rows first
  /// Fills `values` with the elements from number `first` on, last index fastest, none of them
  /// beyond the row of the first; they may be infinite or NaN.
  std::function<void(int64_t first, std::span<float> values)> read;
};

/// What was found of a data set, and what was not.
struct Prepared {
  std::vector<std::string> modalities;
  std::vector<std::string> classes;  // in the order that recipes give them; none of scores
  std::vector<PreparedSample> samples;
  std::string how_split;  // one line on where the splits come from
  /// Ids that were left out, by the reason.
  std::map<std::string, std::vector<std::string>> left_out;
  std::set<std::string> texts = {};        // modalities whose cells are the text itself
  std::vector<PreparedTable> tables = {};  // of the modalities that have one
  /// What clips that would leak into each other have in common, "actor", and which one a clip has;
  /// of data sets whose splits are made.
  std::string group = {};
  std::function<std::string(const std::string& id)> group_of = {};
};

/// The names that `prepare` knows.
std::vector<std::string> known_data_sets();

/// Pairs the files of a published data set by clip. Throws DataError when the folder has not the
/// data set's layout, its classes are not those it should have, or nothing is left, and Error with
/// kUsage for a data set that has no name or no scores.
Prepared prepare(const std::string& data_set, const PrepareOptions& options);

/// The manifest, with paths relative to `folder` where they lie below it.
std::string manifest_of(const Prepared& prepared, const std::filesystem::path& folder);

/// Where the table of a modality goes: "<manifest without extension>_<modality>.npy".
std::filesystem::path table_path(const std::filesystem::path& manifest,
                                 const std::string& modality);
/// Writes a table as float32; a value that is not finite then becomes 0. Returns how many did.
int64_t write_table(const PreparedTable& table, const std::filesystem::path& path);

/// What was found, for people: samples by class and split, and what was left out.
std::string report_of(const Prepared& prepared);

}  // namespace unbraid
