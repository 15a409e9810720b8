#pragma once

#include <filesystem>
#include <functional>

namespace unbraid {

// A checkpoint is a directory that is replaced as a whole. Its MANIFEST lists size and XXH3-64
// checksum of every file:
//   {"format": 1, "files": {"model.safetensors": {"size": 4096, "xxh3_64": "0123456789abcdef"}}}

/// Calls `fill` with a fresh directory "<target>.tmp.<pid>" beside `target`, adds the MANIFEST,
/// syncs everything to the disk and puts it in place of `target`, which then is a valid directory,
/// with the old content or the new, whenever the process or the machine stops. Where the file
/// system cannot exchange two directories, the old one is "<target>.old" for a moment;
/// find_valid_directory knows. `fill` may create subdirectories and regular files and must throw if
/// it fails to write. If it throws, `target` is as it was; so it is after a StorageError, unless
/// all that failed was to sync the finished replacement. One writer a target at a time. Folders
/// above `target` are created.
void write_directory_atomically(const std::filesystem::path& target,
                                const std::function<void(const std::filesystem::path&)>& fill);

/// Reads every file that the MANIFEST lists and checks size and checksum. The StorageError names
/// the first bad file and whether it is missing, truncated or changed. Files that are not listed
/// are ignored.
void verify_directory(const std::filesystem::path& target);

/// Whether there is a `target` or "<target>.old", valid or not.
bool was_ever_written(const std::filesystem::path& target);

/// `target` if it is valid, else "<target>.old" if that is, else the StorageError of `target`.
std::filesystem::path find_valid_directory(const std::filesystem::path& target);

}  // namespace unbraid
