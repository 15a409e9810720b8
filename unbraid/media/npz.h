#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "unbraid/media/file.h"

namespace unbraid {

/// The first bytes of every .npz file, which is a ZIP archive.
inline constexpr std::string_view kZipMagic = "PK\x03\x04";

/// The array `member` of a .npz file, as a .npy file in memory. `member` may be empty when there is
/// but one. Its size is checked before it is read: at most `max_bytes`, and at most 200 times what
/// it takes in the archive. Throws DataError.
std::string read_npz_member(const File& file, const std::string& member, int64_t max_bytes);

}  // namespace unbraid
