#include "unbraid/data/tensor_cache.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <thread>

#include "media/fixtures.h"
#include "unbraid/core/error.h"
#include "unbraid/data/cached_decoder.h"

namespace unbraid {
namespace {

namespace fs = std::filesystem;
using testing::content_of;
using testing::message_of;
using testing::TemporaryFolder;

constexpr int64_t kPlenty = int64_t{1} << 30;

torch::Tensor numbers(int64_t seed, int64_t count = 1000) {
  return (torch::arange(count, torch::kFloat) * 0.37 + static_cast<double>(seed)).sin();
}

std::vector<fs::path> shards_in(const fs::path& folder) {
  std::vector<fs::path> shards;
  for (const auto& entry : fs::directory_iterator(folder)) {
    shards.push_back(entry.path());
  }
  return shards;
}

class Cache : public ::testing::Test {
 protected:
  [[nodiscard]] fs::path folder() const { return folder_.file("cache"); }

  TemporaryFolder folder_;
};

TEST_F(Cache, GivesBackWhatWasStoredNowAndLater) {
  const torch::Tensor pixels = torch::arange(60).to(torch::kUInt8).view({3, 4, 5});
  {
    TensorCache cache(folder(), kPlenty);
    EXPECT_FALSE(cache.find("a").has_value());
    cache.store("a", numbers(1));
    cache.store("b", pixels.permute({1, 2, 0}));
    cache.store("empty", torch::empty({0, 3}));
    cache.store("scalar", torch::tensor(2.5F));
    EXPECT_TRUE(torch::equal(*cache.find("a"), numbers(1)));
    cache.store("later", numbers(2));
    EXPECT_TRUE(torch::equal(*cache.find("later"), numbers(2)));
    EXPECT_EQ(cache.counts().stored, 5);
    EXPECT_EQ(cache.counts().found, 2);
  }
  TensorCache cache(folder(), kPlenty);
  EXPECT_TRUE(torch::equal(*cache.find("a"), numbers(1)));
  const auto found = cache.find("b");
  EXPECT_EQ(found->dtype(), torch::kUInt8);
  EXPECT_TRUE(torch::equal(*found, pixels.permute({1, 2, 0})));
  EXPECT_EQ(cache.find("empty")->sizes(), torch::IntArrayRef({0, 3}));
  EXPECT_EQ(cache.find("scalar")->item<float>(), 2.5F);
  EXPECT_FALSE(cache.find("c").has_value());
}

TEST_F(Cache, ATensorOutlivesItsCache) {
  torch::Tensor kept;
  {
    TensorCache cache(folder(), kPlenty);
    cache.store("a", numbers(1));
    kept = *cache.find("a");
  }
  fs::remove_all(folder());
  EXPECT_TRUE(torch::equal(kept, numbers(1)));
}

TEST_F(Cache, WhatIsCutShortReadsAsAbsent) {
  {
    TensorCache cache(folder(), kPlenty);
    for (int i = 0; i < 4; ++i) {
      cache.store(fmt::format("{}", i), numbers(i, 100));
    }
  }
  const auto shards = shards_in(folder());
  ASSERT_EQ(shards.size(), 1);
  const std::string whole = content_of(shards[0].string());
  const size_t record = whole.size() / 4;
  for (size_t size = 0; size <= whole.size(); size += 40) {
    std::ofstream(shards[0], std::ios::binary) << whole.substr(0, size);
    TensorCache cache(folder(), kPlenty);
    for (size_t i = 0; i < 4; ++i) {
      const auto found = cache.find(fmt::format("{}", i));
      // Its values end before the record's padding does.
      const bool is_whole = size >= i * record + 128 + 400;
      ASSERT_EQ(found.has_value(), is_whole) << size << " " << i;
      if (found) {
        EXPECT_TRUE(torch::equal(*found, numbers(static_cast<int64_t>(i), 100)));
      }
    }
  }
}

TEST_F(Cache, DamageReadsAsAbsentAndIsStoredAnew) {
  {
    TensorCache cache(folder(), kPlenty);
    cache.store("a", numbers(1));
  }
  const fs::path shard = shards_in(folder()).at(0);
  const std::string whole = content_of(shard.string());
  for (size_t byte = 0; byte < 128 + 4000; byte += 7) {
    std::string damaged = whole;
    damaged[byte] = static_cast<char>(damaged[byte] ^ 0x10);
    std::ofstream(shard, std::ios::binary) << damaged;
    TensorCache cache(folder(), kPlenty);
    const auto found = cache.find("a");
    // The header's own padding matters to nobody.
    EXPECT_TRUE(!found.has_value() || (byte >= 96 && byte < 128)) << byte;
    if (found) {
      EXPECT_TRUE(torch::equal(*found, numbers(1)));
    }
  }
  TensorCache cache(folder(), kPlenty);
  cache.store("a", numbers(2));
  EXPECT_TRUE(torch::equal(*cache.find("a"), numbers(2)));
}

TEST_F(Cache, NeverGrowsBeyondItsBound) {
  TensorCache cache(folder(), 20000);
  for (int i = 0; i < 20; ++i) {
    cache.store(fmt::format("{}", i), numbers(i));  // 4 KB each
  }
  EXPECT_TRUE(cache.counts().full);
  EXPECT_EQ(cache.counts().stored, 4);
  EXPECT_TRUE(cache.find("3").has_value());
  EXPECT_FALSE(cache.find("4").has_value());
  int64_t bytes = 0;
  for (const fs::path& shard : shards_in(folder())) {
    bytes += static_cast<int64_t>(fs::file_size(shard));
  }
  EXPECT_LE(bytes, 20000);
  TensorCache again(folder(), 20000);
  again.store("more", numbers(9));
  EXPECT_FALSE(again.find("more").has_value());
}

TEST_F(Cache, ThreadsMayUseItAtOnce) {
  TensorCache cache(folder(), kPlenty);
  std::atomic<int> wrong = 0;
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < 200; ++i) {
          const int name = (i * 7 + t * 50) % 200;
          if (const auto found = cache.find(fmt::format("{}", name))) {
            wrong += torch::equal(*found, numbers(name)) ? 0 : 1;
          } else {
            cache.store(fmt::format("{}", name), numbers(name));
          }
        }
      });
    }
  }
  EXPECT_EQ(wrong, 0);
  for (int name = 0; name < 200; ++name) {
    EXPECT_TRUE(torch::equal(*cache.find(fmt::format("{}", name)), numbers(name)));
  }
}

TEST_F(Cache, ProcessesMayFillItAtOnceAndBeKilled) {
  fs::create_directories(folder());
  std::vector<pid_t> children;
  for (int child = 0; child < 4; ++child) {
    const pid_t pid = fork();
    if (pid == 0) {
      TensorCache cache(folder(), kPlenty);
      for (int i = 0;; ++i) {
        cache.store(fmt::format("{}-{}", child, i), numbers(i, 5000));
      }
    }
    children.push_back(pid);
  }
  const auto all_have_stored = [&] {
    const auto shards = shards_in(folder());
    return shards.size() == children.size() &&
           std::all_of(shards.begin(), shards.end(),
                       [](const fs::path& shard) { return fs::file_size(shard) > 100000; });
  };
  for (int tries = 0; tries < 3000 && !all_have_stored(); ++tries) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  for (const pid_t child : children) {
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
  }
  TensorCache cache(folder(), kPlenty);
  for (int child = 0; child < 4; ++child) {
    int count = 0;
    while (const auto found = cache.find(fmt::format("{}-{}", child, count))) {
      ASSERT_TRUE(torch::equal(*found, numbers(count, 5000)));
      ++count;
    }
    // One after another, up to the kill.
    EXPECT_FALSE(cache.find(fmt::format("{}-{}", child, count + 1)).has_value());
    EXPECT_GT(count, 0);
  }
}

TEST_F(Cache, PassesOverWhatIsNoFile) {
  fs::create_directories(folder() / "folder.shard");
  ASSERT_EQ(mkfifo((folder() / "fifo.shard").c_str(), 0600), 0);
  TensorCache cache(folder(), kPlenty);
  cache.store("a", numbers(1));
  EXPECT_TRUE(cache.find("a").has_value());
}

TEST_F(Cache, SaysWhenItsFolderCannotBe) {
  static_cast<void>(folder_.write("file", "x"));
  EXPECT_NE(message_of<StorageError>([&] {
              TensorCache cache(folder_.file("file/cache"), kPlenty);
            }).find("file/cache"),
            std::string::npos);
}

TEST_F(Cache, IsSharedAsTheUmaskSays) {
  const mode_t before = umask(022);
  TensorCache(folder(), kPlenty).store("a", numbers(1));
  umask(before);
  ASSERT_EQ(shards_in(folder()).size(), 1);
  struct stat status {};
  ASSERT_EQ(stat(shards_in(folder()).front().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0644);
  static_cast<void>(folder_.write("cache/hidden.shard", "x"));
  fs::permissions(folder() / "hidden.shard", fs::perms::none);
  fs::permissions(folder(), fs::perms(0555));
  // Nobody else may write there.
  EXPECT_EXIT(
      {
        const bool other = getuid() != 0 || setuid(65534) == 0;
        TensorCache cache(folder(), kPlenty);
        const auto found = cache.find("a");
        cache.store("b", numbers(2));
        const TensorCache::Counts counts = cache.counts();
        const bool right = other && found.has_value() && torch::equal(*found, numbers(1)) &&
                           !cache.find("b").has_value() && counts.read_only && !counts.full &&
                           counts.stored == 0 && counts.unreadable == 1;
        _exit(right ? 0 : 1);
      },
      ::testing::ExitedWithCode(0), "");
  fs::permissions(folder(), fs::perms(0755));
}

/// Counts what it decodes: the size of a file.
class CountingDecoder final : public Decoder {
 public:
  void check(const std::string& /*cell*/) const override {}
  [[nodiscard]] torch::Tensor decode(const std::string& cell) const override {
    ++decoded;
    return torch::full({2}, static_cast<double>(fs::file_size(cell)), torch::kFloat);
  }
  [[nodiscard]] torch::Tensor transform(const torch::Tensor& tensor,
                                        const SampleContext& /*context*/) const override {
    return tensor + 1;
  }
  [[nodiscard]] std::string cache_key(const std::string& cell) const override {
    return fmt::format("{}{}", fs::file_size(cell),
                       fs::last_write_time(cell).time_since_epoch().count());
  }
  mutable int decoded = 0;
};

TEST_F(Cache, ADecoderDecodesOnceAndANewOneSeesWhatChanged) {
  const auto decoder = std::make_shared<CountingDecoder>();
  const auto cache = std::make_shared<TensorCache>(folder(), kPlenty);
  const CachedDecoder cached(decoder, cache);
  const std::string path = folder_.write("a", "1234");
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(cached.load(path, {})[0].item<float>(), 5);
  }
  EXPECT_EQ(decoder->decoded, 1);
  static_cast<void>(folder_.write("a", "123456"));
  EXPECT_EQ(cached.load(path, {})[0].item<float>(), 5);
  const CachedDecoder next(decoder, cache);
  EXPECT_EQ(next.load(path, {})[0].item<float>(), 7);
  EXPECT_EQ(next.load(path, {})[0].item<float>(), 7);
  EXPECT_EQ(decoder->decoded, 2);
}

}  // namespace
}  // namespace unbraid
