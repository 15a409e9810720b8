#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace unbraid {

/// "train", "val" or "test".
enum class Split { kTrain, kVal, kTest };
std::string_view name_of(Split split);
/// Throws an Error with kUsage on any other name.
Split split_named(std::string_view name);

/// A row of a manifest; `cells` in the order of the modalities asked for.
struct ManifestRow {
  std::string id;
  Split split = Split::kTrain;
  std::string label;
  std::vector<std::string> cells;
  size_t line = 0;  // of the file, from 1, where the row starts
};

/// A manifest: CSV as of RFC 4180 with the header `id,split,label,<modality>…` in any order of
/// columns, UTF-8 with or without a byte-order mark. Paths are relative to the manifest's folder.
struct Manifest {
  std::string path;
  std::vector<ManifestRow> rows;
  std::string hash = {};  // of the whole file, whichever columns were read

  /// Reads the columns of `modalities`; others and blank lines are ignored. Throws DataError naming
  /// file and line ("manifest.csv:17: …") for anything malformed: a missing or repeated column, a
  /// wrong number of fields, an open or misplaced quote, a duplicate id, an unknown split, an empty
  /// id or label, a NUL or other bytes that are not UTF-8, a field of more than 1 MiB, a file of
  /// more than 1 GiB.
  static Manifest read(const std::string& path, const std::vector<std::string>& modalities);
  /// The same for a manifest in memory; `path` is where it will be.
  static Manifest parse(std::string content, const std::string& path,
                        const std::vector<std::string>& modalities);
  /// Rows of which neither split nor label is asked for: these columns may be missing and are not
  /// read; every row has an empty label and the split kTest. Otherwise as `read`.
  static Manifest read_unlabelled(const std::string& path,
                                  const std::vector<std::string>& modalities);
};

}  // namespace unbraid
