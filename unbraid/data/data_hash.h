#pragma once

#include <map>
#include <string>
#include <vector>

#include "unbraid/media/decoder.h"

namespace unbraid {

/// What tells data apart; a copy of it has the same.
struct DataHash {
  std::string manifest;
  /// Of the files that it names, by modality and split, "audio/test", as of files_hash; a run of
  /// one modality knows its own.
  std::map<std::string, std::string> files;
};

/// What is not the same, "files of audio/test (hash …, not …)"; empty where they are not known to
/// differ.
std::string difference_of_data(const DataHash& data, const DataHash& other);

/// A hash of the files behind cells of a manifest in `folder`: of the size of each and the 4 KiB in
/// its middle, which other media of the same size do not share; of a folder of frames the first,
/// the middle and the last. Names and times do not enter, so that a copied data set keeps its hash.
/// Empty cells are passed over, and a file that cannot be read counts as an empty one.
std::string files_hash(const std::vector<std::string>& cells, const Decoder& decoder,
                       const std::string& folder);

}  // namespace unbraid
