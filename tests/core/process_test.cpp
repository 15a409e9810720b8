#include "unbraid/core/process.h"

#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <sched.h>

#include "core/storage_testing.h"

namespace unbraid {
namespace {

namespace fs = std::filesystem;

int quota_of(const std::map<std::string, std::string>& files) {
  const testing::TemporaryFolder root;
  for (const auto& [name, text] : files) {
    fs::create_directories((root.path() / name).parent_path());
    testing::write_text(root.path() / name, text);
  }
  return cores_by_quota(root.path());
}

TEST(Process, ReadsTheQuotaOfTheSecondVersion) {
  const std::string group = "proc/self/cgroup";
  const std::string limits = "sys/fs/cgroup/";
  EXPECT_EQ(quota_of({}), 0);
  EXPECT_EQ(quota_of({{group, "0::/\n"}}), 0);
  EXPECT_EQ(quota_of({{group, "0::/\n"}, {limits + "cpu.max", "max 100000\n"}}), 0);
  EXPECT_EQ(quota_of({{group, "0::/\n"}, {limits + "cpu.max", "200000 100000\n"}}), 2);
  EXPECT_EQ(quota_of({{group, "0::/\n"}, {limits + "cpu.max", "250000 100000\n"}}), 3);
  EXPECT_EQ(quota_of({{group, "0::/\n"}, {limits + "cpu.max", "1000 100000\n"}}), 1);
  EXPECT_EQ(quota_of({{group, "0::/\n"}, {limits + "cpu.max", "what 0\n"}}), 0);
  EXPECT_EQ(quota_of({{group, "0::/\n"}, {limits + "cpu.max", "100000 0\n"}}), 0);
}

TEST(Process, TakesTheNarrowestGroupAroundIt) {
  EXPECT_EQ(quota_of({{"proc/self/cgroup", "0::/a/b/c\n"},
                      {"sys/fs/cgroup/a/cpu.max", "300000 100000\n"},
                      {"sys/fs/cgroup/a/b/cpu.max", "max 100000\n"},
                      {"sys/fs/cgroup/a/b/c/cpu.max", "800000 100000\n"}}),
            3);
  EXPECT_EQ(quota_of({{"proc/self/cgroup", "0::/not/visible/inside\n"},
                      {"sys/fs/cgroup/cpu.max", "500000 100000\n"}}),
            5);
}

TEST(Process, ReadsTheQuotaOfTheFirstVersion) {
  const std::string groups = "5:memory:/a\n4:cpu,cpuacct:/a\n3:cpuset:/\n0::/\n";
  const std::string limits = "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_";
  EXPECT_EQ(quota_of({{"proc/self/cgroup", groups},
                      {limits + "quota_us", "350000\n"},
                      {limits + "period_us", "100000\n"}}),
            4);
  EXPECT_EQ(quota_of({{"proc/self/cgroup", groups},
                      {limits + "quota_us", "-1\n"},
                      {limits + "period_us", "100000\n"}}),
            0);
}

TEST(Process, CountsTheCoresOfItsAffinityMask) {
  EXPECT_GE(available_cores(), 1);
  EXPECT_EQ(testing::run_in_child([] {
              cpu_set_t mask;
              CPU_ZERO(&mask);
              CPU_SET(::sched_getcpu(), &mask);
              ::sched_setaffinity(0, sizeof(mask), &mask);
              return available_cores();
            }),
            1);
}

TEST(Process, LetsTheUserChooseTheThreads) {
  const auto threads_with = [](const char* wish) {
    return testing::run_in_child([&] {
      ::setenv("OMP_NUM_THREADS", wish, 1);
      return default_threads();
    });
  };
  EXPECT_EQ(threads_with("3"), 3);
  EXPECT_EQ(threads_with("0"), available_cores());
  EXPECT_EQ(threads_with("many"), available_cores());
}

TEST(Process, WantsSkylakeKernelsOnlyWhereOpenBlasChoseWorse) {
  const std::string config = "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH NO_AFFINITY Haswell";
  EXPECT_EQ(better_openblas_core("Haswell", config, true), "SkylakeX");
  EXPECT_EQ(better_openblas_core("Zen", config, true), "SkylakeX");
  EXPECT_EQ(better_openblas_core("Prescott", config, true), "SkylakeX");
  EXPECT_EQ(better_openblas_core("Haswell", config, false), "");
  EXPECT_EQ(better_openblas_core("Haswell", "OpenBLAS 0.3.21 Haswell", true), "");
  EXPECT_EQ(better_openblas_core("SkylakeX", config, true), "");
  EXPECT_EQ(better_openblas_core("Cooperlake", config, true), "");
  EXPECT_EQ(better_openblas_core("SapphireRapids", config, true), "");
}

TEST(Process, ExchangesTheKernelsOfOpenBlas) {
  if (openblas_core().empty()) {
    EXPECT_FALSE(use_openblas_core("Haswell"));
    GTEST_SKIP() << "OpenBLAS is not loaded";
  }
  using Product =
      void(const char*, const char*, const int*, const int*, const int*, const float*, const float*,
           const int*, const float*, const int*, const float*, float*, const int*);
  auto* const sgemm = reinterpret_cast<Product*>(::dlsym(RTLD_DEFAULT, "sgemm_"));
  ASSERT_NE(sgemm, nullptr);
  EXPECT_EQ(testing::run_in_child([&] {
              for (const std::string core : {"Nehalem", "Haswell"}) {
                if (!use_openblas_core(core)) {
                  return 1;
                }
                constexpr int kSize = 67;
                const float one = 1;
                const float zero = 0;
                constexpr size_t kCells = size_t{kSize} * kSize;
                const std::vector<float> left(kCells, 2);
                const std::vector<float> right(kCells, 3);
                std::vector<float> product(kCells);
                sgemm("N", "T", &kSize, &kSize, &kSize, &one, left.data(), &kSize, right.data(),
                      &kSize, &zero, product.data(), &kSize);
                if (product != std::vector<float>(kCells, 6.0F * kSize)) {
                  return 2;
                }
              }
              return std::getenv("OPENBLAS_CORETYPE") == nullptr ? 0 : 3;
            }),
            0);
}

TEST(Process, LeavesTheKernelsThatTheUserChose) {
  if (openblas_core().empty()) {
    GTEST_SKIP() << "OpenBLAS is not loaded";
  }
  const auto core_is = [](const char* user, const std::string& expected) {
    return testing::run_in_child([&] {
      use_openblas_core("Haswell");
      if (user != nullptr) {
        ::setenv("OPENBLAS_CORETYPE", user, 1);
      }
      tune_process();
      return openblas_core() == expected ? 0 : 1;
    });
  };
  EXPECT_EQ(core_is("Haswell", "Haswell"), 0);
  EXPECT_EQ(core_is(nullptr, cpu_has_avx512() ? "SkylakeX" : "Haswell"), 0);
}

// A large block then comes from the heap, where it stays after it is freed, and not from mmap.
TEST(Process, RaisesTheThresholdsOfGlibcUnlessTheUserDid) {
  if (!malloc_is_ours_to_tune()) {
    GTEST_SKIP() << "malloc comes from " << malloc_provider();
  }
  const auto mapped_blocks = [](const char* variable) {
    return testing::run_in_child([&] {
      if (variable != nullptr) {
        ::setenv(variable, "glibc.malloc.arena_max=1", 1);
      }
      tune_process();
      const size_t before = ::mallinfo2().hblks;
      void* volatile block = std::malloc(size_t{256} << 20);
      const size_t after = ::mallinfo2().hblks;
      std::free(block);
      return static_cast<int>(after - before);
    });
  };
  EXPECT_EQ(mapped_blocks(nullptr), 0);
  EXPECT_EQ(mapped_blocks("MALLOC_TRIM_THRESHOLD_"), 1);
  EXPECT_EQ(mapped_blocks("GLIBC_TUNABLES"), 1);
}

}  // namespace
}  // namespace unbraid
