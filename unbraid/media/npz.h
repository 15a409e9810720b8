#pragma once

#include <cstdint>
#include <string>

#include "unbraid/media/zip.h"

namespace unbraid {

/// The array `member` of a .npz file, which is a ZIP archive, as a .npy file in memory. `member`
/// may be empty when there is but one. Its size is checked before it is read: at most `max_bytes`,
/// and above 64 MiB at most 200 times what it takes in the archive. Throws DataError.
std::string read_npz_member(const File& file, const std::string& member, int64_t max_bytes);

}  // namespace unbraid
