#pragma once

#include "unbraid/media/file.h"

namespace unbraid {

/// Throws DataError when an AVI, Matroska (WebM), ASF (WMV), FLV, GIF, AIFF, AU or Wave64 file says
/// by its structure that it goes on beyond the end of `file`. Says nothing of other files, and of
/// those that a program wrote to a pipe, which do not know their length. Looks at a few bytes, of
/// FLV and GIF at each tag or block.
void check_is_whole(const File& file);

}  // namespace unbraid
