#include "unbraid/media/npz.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace unbraid {
namespace {

constexpr size_t kMostMembers = 10000;
constexpr uint64_t kMostExpansion = 200;
constexpr uint64_t kSmall = 64 << 20;  // that may expand by more, as what is mostly zeros does

std::string without_suffix(const std::string& name) {
  return name.ends_with(".npy") ? name.substr(0, name.size() - 4) : name;
}

/// The place of `member` in the archive.
size_t find_member(const File& file, const ZipArchive& archive, const std::string& member) {
  const size_t count = archive.members().size();
  if (count < 1 || count > kMostMembers) {
    throw file.error(fmt::format("expected 1 to {} arrays, found {}", kMostMembers, count));
  }
  std::vector<std::string> names;
  for (size_t i = 0; i < count; ++i) {
    names.push_back(without_suffix(archive.members()[i].name));
    if (names.back() == member || (member.empty() && count == 1)) {
      return i;
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
  const ZipArchive archive(file, ".npz");
  const size_t place = find_member(file, archive, member);
  const ZipMember& found = archive.members()[place];
  if (found.size > static_cast<uint64_t>(max_bytes)) {
    throw file.error(fmt::format("expected an array of at most {} bytes, its header says {}",
                                 max_bytes, found.size));
  }
  if (found.size > kSmall && found.size / kMostExpansion > found.packed_size) {
    throw file.error(
        fmt::format("expected an array at most {} times its {} bytes in the file, its "
                    "header says {}",
                    kMostExpansion, found.packed_size, found.size));
  }
  return archive.read(place);
}

}  // namespace unbraid
