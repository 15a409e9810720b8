#include "unbraid/data/tensor_cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <mutex>
#include <random>
#include <tuple>
#include <unordered_map>
#include <vector>

#include <fmt/format.h>
#include <xxhash.h>

#include "unbraid/core/durable_file.h"
#include "unbraid/core/error.h"
#include "unbraid/media/mapping.h"

namespace unbraid {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMagic = 0x3165686361636275;  // "ubcache1"
constexpr int64_t kAlignment = 64;
constexpr int64_t kMaxShardBytes = int64_t{1} << 30;
constexpr size_t kMaxDimensions = 6;
constexpr const char* kExtension = ".shard";

struct Header {
  uint64_t magic = 0;
  uint64_t name_low = 0;
  uint64_t name_high = 0;
  uint32_t is_float = 0;
  uint32_t dimensions = 0;
  std::array<int64_t, kMaxDimensions> shape{};
  int64_t bytes = 0;
  uint64_t checksum = 0;  // of the values, with the hash of the header before it as seed

  [[nodiscard]] uint64_t checksum_of(const void* values) const {
    return XXH3_64bits_withSeed(values, static_cast<size_t>(bytes),
                                XXH3_64bits(this, offsetof(Header, checksum)));
  }
};
static_assert(sizeof(Header) <= 2 * kAlignment);
constexpr int64_t kHeaderBytes = 2 * kAlignment;

int64_t aligned(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

/// Whether a header can be one of a record that ends within `left` bytes.
bool is_sound(const Header& header, int64_t left) {
  if (header.magic != kMagic || header.is_float > 1 || header.dimensions > kMaxDimensions ||
      header.bytes < 0 || header.bytes > left - kHeaderBytes) {
    return false;
  }
  int64_t bytes = header.is_float != 0 ? 4 : 1;
  for (size_t i = 0; i < header.dimensions; ++i) {
    const int64_t size = header.shape[i];
    if (size < 0 || (size > 0 && bytes > left / size)) {
      return false;
    }
    bytes *= size;
  }
  return bytes == header.bytes;
}

/// A file mapped as far as it goes now; empty when it cannot be.
std::shared_ptr<const Mapping> map_file(const fs::path& path) {
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status {};
  const bool usable = fstat(file.get(), &status) == 0 && S_ISREG(status.st_mode);
  return std::make_shared<const Mapping>(file.get(), usable ? status.st_size : 0);
}

struct Shard {
  fs::path path;
  std::shared_ptr<const Mapping> mapping;
};

struct Place {
  size_t shard = 0;
  int64_t offset = 0;     // of the header
  bool is_whole = false;  // its checksum was seen to be right
};

struct NameHash {
  size_t operator()(const std::pair<uint64_t, uint64_t>& name) const { return name.first; }
};

bool write_at(int descriptor, const void* data, int64_t bytes, int64_t offset) {
  const char* next = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t written = pwrite(descriptor, next, static_cast<size_t>(bytes), offset);
    if (written < 0 && errno == EINTR) {
      continue;
    }
    if (written <= 0) {
      return false;
    }
    next += written;
    offset += written;
    bytes -= written;
  }
  return true;
}

}  // namespace

class TensorCache::Impl {
 public:
  Impl(fs::path folder, int64_t max_bytes) : folder_(std::move(folder)), max_bytes_(max_bytes) {
    std::error_code failure;
    fs::create_directories(folder_, failure);
    if (failure) {
      throw StorageError(fmt::format("{}: cannot make the cache's folder: {}", folder_.string(),
                                     failure.message()));
    }
    counts_.read_only = access(folder_.c_str(), W_OK) != 0;
    for (fs::directory_iterator entry(folder_, failure), end; !failure && entry != end;
         entry.increment(failure)) {
      if (entry->path().extension() == kExtension) {
        read_headers(entry->path());
      }
    }
    if (failure) {
      throw StorageError(
          fmt::format("{}: cannot be read: {}", folder_.string(), failure.message()));
    }
  }

  std::optional<torch::Tensor> find(const std::string& name) {
    std::unique_lock lock(mutex_);
    const auto hash = hash_of(name);
    const auto known = places_.find(hash);
    if (known == places_.end()) {
      return std::nullopt;
    }
    Shard& shard = shards_[known->second.shard];
    const int64_t offset = known->second.offset;
    const auto within = [&] {
      return shard.mapping->size() >= offset + kHeaderBytes &&
             is_sound(header_at(*shard.mapping, offset), shard.mapping->size() - offset);
    };
    if (!within()) {  // written after the file was mapped
      shard.mapping = map_file(shard.path);
    }
    if (!within()) {
      places_.erase(known);
      return std::nullopt;
    }
    const std::shared_ptr<const Mapping> mapping = shard.mapping;
    const Header header = header_at(*mapping, offset);
    const char* values = mapping->data() + offset + kHeaderBytes;
    if (!known->second.is_whole) {  // looked at once: nobody writes to a record that is whole
      lock.unlock();
      const bool is_whole = header.checksum_of(values) == header.checksum;
      lock.lock();
      if (!is_whole) {
        places_.erase(hash);
        return std::nullopt;
      }
      if (const auto still = places_.find(hash); still != places_.end()) {
        still->second.is_whole = true;
      }
    }
    ++counts_.found;
    return torch::from_blob(
        const_cast<char*>(values), torch::IntArrayRef(header.shape.data(), header.dimensions),
        [mapping](void* /*values*/) {}, header.is_float != 0 ? torch::kFloat : torch::kUInt8);
  }

  void store(const std::string& name, const torch::Tensor& given) {
    const torch::Tensor tensor = given.contiguous();
    TORCH_CHECK(
        tensor.is_cpu() && static_cast<size_t>(tensor.dim()) <= kMaxDimensions &&
            (tensor.scalar_type() == torch::kFloat || tensor.scalar_type() == torch::kUInt8),
        "[cache] expected a uint8 or float tensor of at most 6 dimensions on the CPU");
    Header header{.magic = kMagic};
    std::tie(header.name_low, header.name_high) = hash_of(name);
    header.is_float = tensor.scalar_type() == torch::kFloat ? 1 : 0;
    header.dimensions = static_cast<uint32_t>(tensor.dim());
    std::copy(tensor.sizes().begin(), tensor.sizes().end(), header.shape.begin());
    header.bytes = static_cast<int64_t>(tensor.nbytes());
    header.checksum = header.checksum_of(tensor.data_ptr());
    const int64_t size = kHeaderBytes + aligned(header.bytes);

    const std::unique_lock lock(mutex_);
    if (counts_.full || counts_.read_only || counts_.bytes + size > max_bytes_ ||
        !writable_shard(size)) {
      counts_.full = !counts_.read_only;
      return;
    }
    // The header last: what is cut short has none.
    if (!write_at(own_->get(), tensor.data_ptr(), header.bytes, own_end_ + kHeaderBytes) ||
        !write_at(own_->get(), &header, sizeof header, own_end_) ||
        ftruncate(own_->get(), own_end_ + size) != 0) {
      counts_.full = true;
      static_cast<void>(ftruncate(own_->get(), own_end_));
      return;
    }
    places_[{header.name_low, header.name_high}] = {own_shard_, own_end_};
    own_end_ += size;
    counts_.bytes += size;
    ++counts_.stored;
  }

  [[nodiscard]] Counts counts() const {
    const std::unique_lock lock(mutex_);
    return counts_;
  }

 private:
  static std::pair<uint64_t, uint64_t> hash_of(const std::string& name) {
    const XXH128_hash_t hash = XXH3_128bits(name.data(), name.size());
    return {hash.low64, hash.high64};
  }

  static Header header_at(const Mapping& mapping, int64_t offset) {
    Header header;
    std::memcpy(&header, mapping.data() + offset, sizeof header);
    return header;
  }

  void read_headers(const fs::path& path) {
    if (access(path.c_str(), R_OK) != 0) {
      ++counts_.unreadable;
      return;
    }
    const auto mapping = map_file(path);
    counts_.bytes += mapping->size();
    const size_t shard = shards_.size();
    shards_.push_back({path, mapping});
    for (int64_t offset = 0; offset + kHeaderBytes <= mapping->size();) {
      const Header header = header_at(*mapping, offset);
      if (!is_sound(header, mapping->size() - offset)) {
        return;  // what another process is writing, or was
      }
      places_[{header.name_low, header.name_high}] = {shard, offset};
      offset += kHeaderBytes + aligned(header.bytes);
    }
  }

  /// A file of this process with room for `size` more bytes; false when none can be made.
  bool writable_shard(int64_t size) {
    if (own_ != nullptr && own_end_ + size <= kMaxShardBytes) {
      return true;
    }
    // Other processes add to the folder too.
    std::error_code failure;
    int64_t bytes = 0;
    for (fs::directory_iterator entry(folder_, failure), end; !failure && entry != end;
         entry.increment(failure)) {
      std::error_code ignored;  // of what is no file
      const auto size_of_entry = entry->file_size(ignored);
      bytes += ignored ? 0 : static_cast<int64_t>(size_of_entry);
    }
    counts_.bytes = bytes;
    if (failure || bytes + size > max_bytes_) {
      return false;
    }
    // A name of its own, and as mkstemp does not, with the rights that the umask leaves.
    std::random_device random;
    fs::path path;
    int descriptor = -1;
    do {
      path = folder_ / fmt::format("{:08x}{}", random(), kExtension);
      descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    } while (descriptor < 0 && errno == EEXIST);
    if (descriptor < 0) {
      return false;
    }
    own_ = std::make_unique<FileDescriptor>(descriptor);
    own_end_ = 0;
    own_shard_ = shards_.size();
    shards_.push_back({path, map_file(path)});
    return true;
  }

  const fs::path folder_;
  const int64_t max_bytes_;
  mutable std::mutex mutex_;
  std::vector<Shard> shards_;
  std::unordered_map<std::pair<uint64_t, uint64_t>, Place, NameHash> places_;
  std::unique_ptr<FileDescriptor> own_;  // the file that this process appends to
  size_t own_shard_ = 0;
  int64_t own_end_ = 0;
  Counts counts_;
};

TensorCache::TensorCache(const fs::path& folder, int64_t max_bytes)
    : impl_(std::make_unique<Impl>(folder, max_bytes)) {}
TensorCache::~TensorCache() = default;
std::optional<torch::Tensor> TensorCache::find(const std::string& name) {
  return impl_->find(name);
}
void TensorCache::store(const std::string& name, const torch::Tensor& tensor) {
  impl_->store(name, tensor);
}
TensorCache::Counts TensorCache::counts() const { return impl_->counts(); }

}  // namespace unbraid
