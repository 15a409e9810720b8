#include "unbraid/media/zip.h"

#include <unistd.h>
#include <zip.h>

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace unbraid {

struct ZipArchive::Handle {
  explicit Handle(zip_t* opened) : archive(opened) {}
  ~Handle() { zip_discard(archive); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  zip_t* archive;
};

ZipArchive::ZipArchive(const File& file, std::string format)
    : file_(file), format_(std::move(format)) {
  int failure = 0;
  const int descriptor = dup(file.descriptor());  // which the archive closes
  zip_t* const archive = zip_fdopen(descriptor, ZIP_CHECKCONS, &failure);
  if (archive == nullptr) {
    close(descriptor);
    zip_error_t error;
    zip_error_init_with_code(&error, failure);
    const std::string what = zip_error_strerror(&error);
    zip_error_fini(&error);
    throw damaged(": " +
                  (failure == ZIP_ER_EXISTS ? std::string("two members of one name") : what));
  }
  handle_ = std::make_unique<Handle>(archive);
  const zip_int64_t count = zip_get_num_entries(archive, 0);
  for (zip_int64_t i = 0; i < count; ++i) {
    zip_stat_t status;
    zip_stat_init(&status);
    constexpr zip_uint64_t kNeeded = ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD;
    if (zip_stat_index(archive, static_cast<zip_uint64_t>(i), 0, &status) != 0 ||
        (status.valid & kNeeded) != kNeeded) {
      throw damaged(": a member without a size");
    }
    members_.push_back({(status.valid & ZIP_STAT_NAME) != 0 ? status.name : "", status.size,
                        status.comp_size, status.comp_method == ZIP_CM_STORE});
  }
}

ZipArchive::~ZipArchive() = default;

std::optional<size_t> ZipArchive::find(std::string_view name) const {
  const auto found = std::find_if(members_.begin(), members_.end(),
                                  [name](const ZipMember& known) { return known.name == name; });
  return found == members_.end() ? std::nullopt
                                 : std::optional(static_cast<size_t>(found - members_.begin()));
}

void ZipArchive::read(size_t member, void* into) const {
  struct Closer {
    void operator()(zip_file_t* stream) const { zip_fclose(stream); }
  };
  const uint64_t size = members_.at(member).size;
  const std::unique_ptr<zip_file_t, Closer> stream(zip_fopen_index(handle_->archive, member, 0));
  // One byte more than there should be, so that the end and the checksum are seen.
  char beyond = 0;
  const bool whole = stream != nullptr &&
                     zip_fread(stream.get(), into, size) == static_cast<zip_int64_t>(size) &&
                     zip_fread(stream.get(), &beyond, 1) == 0;
  if (!whole) {
    throw damaged("");
  }
}

std::string ZipArchive::read(size_t member) const {
  std::string content(members_.at(member).size, '\0');
  read(member, content.data());
  return content;
}

DataError ZipArchive::damaged(const std::string& what) const {
  return file_.error(fmt::format("damaged or truncated {}{}", format_, what));
}

}  // namespace unbraid
