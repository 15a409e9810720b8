#include "unbraid/training/torch_file.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include <fmt/format.h>

#include "unbraid/core/safetensors_header.h"
#include "unbraid/media/mapping.h"
#include "unbraid/media/zip.h"
#include "unbraid/training/pickled_tensors.h"

namespace unbraid {
namespace {

static_assert(std::endian::native == std::endian::little, "storages are little-endian");

using namespace std::string_view_literals;

/// The first pickle of a file from before PyTorch 1.6, the number 0x1950a86a20f9469cfc6c.
constexpr std::string_view kLegacyMagic = "\x80\x02\x8a\x0al\xfc\x9c\x46\xf9 j\xa8P\x19."sv;
constexpr int64_t kLegacyVersion = 1001;
constexpr uint64_t kMostProgramBytes = uint64_t{64} << 20;

torch::Tensor empty_storage(const File& file, const PickledStorage& storage) {
  try {
    return torch::empty({storage.size}, storage.type);
  } catch (const c10::Error&) {
    throw file.error(fmt::format("not enough memory for a storage of {} bytes", storage.bytes()));
  }
}

// Any other byte in a C++ bool is undefined behaviour.
void check_booleans(const File& file, const torch::Tensor& storage) {
  const auto* const bytes = static_cast<const uint8_t*>(storage.data_ptr());
  if (storage.scalar_type() == torch::kBool &&
      std::any_of(bytes, bytes + storage.numel(), [](uint8_t byte) { return byte > 1; })) {
    throw file.error("expected truth values of 0 or 1 in a storage, found others");
  }
}

/// The archive of a state dict: PREFIX/data.pkl, and each storage as PREFIX/data/KEY.
class TorchArchive {
 public:
  explicit TorchArchive(const File& file)
      : file_(file), archive_(file, "PyTorch file"), left_(static_cast<uint64_t>(file.size())) {}

  NamedTensors read() {
    const auto& members = archive_.members();
    const auto program = std::find_if(members.begin(), members.end(), [](const ZipMember& member) {
      return member.name.ends_with("/data.pkl") &&
             std::count(member.name.begin(), member.name.end(), '/') == 1;
    });
    if (program == members.end()) {
      throw file_.error("expected a PyTorch file, found a ZIP archive without data.pkl");
    }
    prefix_ = program->name.substr(0, program->name.find('/') + 1);
    if (archive_.find(prefix_ + "constants.pkl")) {
      throw file_.error(
          "expected a state dict (torch.save of model.state_dict()), found a "
          "TorchScript archive, which holds code");
    }
    if (const auto order = archive_.find(prefix_ + "byteorder");
        order && checked(*order).size <= 16 && archive_.read(*order) != "little") {
      throw file_.error("expected values that are little-endian, found others");
    }
    const auto place = static_cast<size_t>(program - members.begin());
    if (checked(place).size > kMostProgramBytes) {
      throw file_.error(fmt::format("expected a data.pkl of at most {} bytes, found {}",
                                    kMostProgramBytes, program->size));
    }
    const std::string content = archive_.read(place);
    const Pickle pickle(content, file_.path() + ": data.pkl");
    return read_pickled_tensors(
        pickle, [this](const PickledStorage& storage) { return read_storage(storage); });
  }

 private:
  /// A member that takes no more memory than the file, all that were asked for together.
  const ZipMember& checked(size_t place) {
    const ZipMember& member = archive_.members()[place];
    if (!member.stored || member.size != member.packed_size || member.size > left_) {
      throw file_.error(
          fmt::format("expected {} as PyTorch stores it, uncompressed and apart from others, found "
                      "{} bytes in {}",
                      printable(member.name), member.size, member.packed_size));
    }
    left_ -= member.size;
    return member;
  }

  torch::Tensor read_storage(const PickledStorage& storage) {
    const auto place = archive_.find(fmt::format("{}data/{}", prefix_, storage.key));
    if (!place) {
      throw file_.error(fmt::format("expected a storage {}, there is none",
                                    printable(prefix_ + "data/" + storage.key)));
    }
    if (const ZipMember& member = checked(*place); member.size != storage.bytes()) {
      throw file_.error(fmt::format("expected {} bytes as storage {}, found {}", storage.bytes(),
                                    printable(storage.key), member.size));
    }
    torch::Tensor values = empty_storage(file_, storage);
    archive_.read(*place, values.data_ptr());
    check_booleans(file_, values);
    return values;
  }

  const File& file_;
  ZipArchive archive_;
  uint64_t left_;
  std::string prefix_;
};

/// What torch.save wrote before 1.6: five pickles (a magic number, a version, the system, the state
/// dict, the keys of its storages), then each storage in the order of the keys as the number of its
/// elements in eight bytes and their values.
class LegacyTorchFile {
 public:
  explicit LegacyTorchFile(const File& file)
      : file_(file), mapping_(file.descriptor(), file.size()) {
    if (mapping_.data() == nullptr) {
      throw file_.error("cannot be mapped into memory");
    }
    content_ = {mapping_.data(), static_cast<size_t>(mapping_.size())};
  }

  NamedTensors read() {
    const Pickle version(content_, file_.path(), kLegacyMagic.size());
    if (version.root().integer != kLegacyVersion) {
      throw version.error(version.root(), fmt::format("the version {}", kLegacyVersion));
    }
    const Pickle system(content_, file_.path(), version.end());
    const PickleValue* little = system.root().find("little_endian");
    if (little == nullptr || little->integer != 1) {
      throw system.error(system.root(), "a system that is little-endian");
    }
    const Pickle program(content_, file_.path(), system.end());
    const Pickle keys(content_, file_.path(), program.end());
    find_storages(keys, pickled_storages(program));
    return read_pickled_tensors(
        program, [this](const PickledStorage& storage) { return read_storage(storage); });
  }

 private:
  void find_storages(const Pickle& keys, const std::map<std::string, PickledStorage>& storages) {
    uint64_t place = keys.end();
    for (const PickleValue* key : keys.root().items) {
      const auto storage = key == nullptr ? storages.end() : storages.find(std::string(key->text));
      if (storage == storages.end()) {
        throw keys.error(key == nullptr ? keys.root() : *key, "the key of a storage");
      }
      uint64_t count = 0;
      const uint64_t left = content_.size() - place;
      if (left >= sizeof(count)) {
        std::memcpy(&count, content_.data() + place, sizeof(count));
      }
      const uint64_t bytes = storage->second.bytes();
      if (left < sizeof(count) || count != static_cast<uint64_t>(storage->second.size) ||
          left - sizeof(count) < bytes) {
        throw file_.error(fmt::format(
            "byte {}: expected storage {} of {} bytes, found {} values in {} bytes (truncated?)",
            place, printable(storage->first), bytes, count, left));
      }
      place += sizeof(count);
      places_[storage->first] = content_.substr(place, bytes);
      place += bytes;
    }
  }

  torch::Tensor read_storage(const PickledStorage& storage) {
    const auto place = places_.find(storage.key);
    if (place == places_.end() || place->second.size() != storage.bytes()) {
      throw file_.error(fmt::format("expected {} bytes as storage {}, there are none",
                                    storage.bytes(), printable(storage.key)));
    }
    torch::Tensor values = empty_storage(file_, storage);
    if (storage.size > 0) {
      std::memcpy(values.data_ptr(), place->second.data(), place->second.size());
    }
    check_booleans(file_, values);
    return values;
  }

  const File& file_;
  Mapping mapping_;
  std::string_view content_;
  std::map<std::string, std::string_view> places_;
};

}  // namespace

bool is_torch_file(const File& file) {
  const std::string start = file.read(0, kLegacyMagic.size());
  return start.starts_with(kZipMagic) || start == kLegacyMagic;
}

NamedTensors read_torch_file(const File& file) {
  if (file.read(0, kZipMagic.size()) == kZipMagic) {
    return TorchArchive(file).read();
  }
  if (file.read(0, kLegacyMagic.size()) == kLegacyMagic) {
    return LegacyTorchFile(file).read();
  }
  throw file.error("expected a file of PyTorch (torch.save of model.state_dict())");
}

}  // namespace unbraid
