#include "unbraid/media/npz.h"

#include <unistd.h>
#include <zip.h>

#include <memory>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace unbraid {
namespace {

constexpr zip_int64_t kMostMembers = 10000;
constexpr uint64_t kMostExpansion = 200;
constexpr uint64_t kSmall = 1 << 20;  // that may expand by more

struct ArchiveCloser {
  void operator()(zip_t* archive) const { zip_discard(archive); }
};
struct MemberCloser {
  void operator()(zip_file_t* member) const { zip_fclose(member); }
};
using Archive = std::unique_ptr<zip_t, ArchiveCloser>;

Archive open_archive(const File& file) {
  int failure = 0;
  const int descriptor = dup(file.descriptor());  // which the archive closes
  Archive archive(zip_fdopen(descriptor, ZIP_CHECKCONS, &failure));
  if (archive == nullptr) {
    close(descriptor);
    zip_error_t error;
    zip_error_init_with_code(&error, failure);
    const std::string what = zip_error_strerror(&error);
    zip_error_fini(&error);
    throw file.error("damaged or truncated .npz: " + what);
  }
  return archive;
}

std::string without_suffix(const std::string& name) {
  return name.ends_with(".npy") ? name.substr(0, name.size() - 4) : name;
}

/// The place of `member` in the archive.
zip_uint64_t find_member(const File& file, zip_t* archive, const std::string& member) {
  const zip_int64_t count = zip_get_num_entries(archive, 0);
  if (count < 1 || count > kMostMembers) {
    throw file.error(fmt::format("expected 1 to {} arrays, found {}", kMostMembers, count));
  }
  std::vector<std::string> names;
  for (zip_int64_t i = 0; i < count; ++i) {
    const char* name = zip_get_name(archive, static_cast<zip_uint64_t>(i), 0);
    names.push_back(without_suffix(name == nullptr ? "" : name));
    if (names.back() == member || (member.empty() && count == 1)) {
      return static_cast<zip_uint64_t>(i);
    }
  }
  constexpr size_t kShown = 10;
  names.resize(std::min(names.size(), kShown));
  throw file.error(
      member.empty()
          ? fmt::format("expected the key member, since there are {} arrays: {}", count,
                        fmt::join(names, ", "))
          : fmt::format("expected an array {}, found {}", member, fmt::join(names, ", ")));
}

}  // namespace

std::string read_npz_member(const File& file, const std::string& member, int64_t max_bytes) {
  const Archive archive = open_archive(file);
  const zip_uint64_t place = find_member(file, archive.get(), member);
  zip_stat_t status;
  zip_stat_init(&status);
  constexpr zip_uint64_t kNeeded = ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE;
  if (zip_stat_index(archive.get(), place, 0, &status) != 0 ||
      (status.valid & kNeeded) != kNeeded) {
    throw file.error("damaged or truncated .npz: an array without a size");
  }
  if (status.size > static_cast<uint64_t>(max_bytes)) {
    throw file.error(fmt::format("expected an array of at most {} bytes, its header says {}",
                                 max_bytes, status.size));
  }
  if (status.size > kSmall && status.size / kMostExpansion > status.comp_size) {
    throw file.error(
        fmt::format("expected an array at most {} times its {} bytes in the file, its "
                    "header says {}",
                    kMostExpansion, status.comp_size, status.size));
  }
  const std::unique_ptr<zip_file_t, MemberCloser> stream(zip_fopen_index(archive.get(), place, 0));
  std::string content(status.size, '\0');
  // One byte more than there should be, so that the end and the checksum are seen.
  char beyond = 0;
  const bool whole = stream != nullptr &&
                     zip_fread(stream.get(), content.data(), content.size()) ==
                         static_cast<zip_int64_t>(content.size()) &&
                     zip_fread(stream.get(), &beyond, 1) == 0;
  if (!whole) {
    throw file.error("damaged or truncated .npz");
  }
  return content;
}

}  // namespace unbraid
