#include "unbraid/core/process.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string_view>
#include <thread>

#include <dlfcn.h>
#include <malloc.h>
#include <sched.h>
#include <sys/resource.h>

namespace unbraid {
namespace {

namespace fs = std::filesystem;

template <typename Function>
Function* loaded_function(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_DEFAULT, name));
}

bool is_set(const char* variable) { return std::getenv(variable) != nullptr; }

int cores_by_affinity() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  if (::sched_getaffinity(0, sizeof(mask), &mask) == 0) {
    return CPU_COUNT(&mask);
  }
  return static_cast<int>(std::thread::hardware_concurrency());  // more than 1024 CPUs
}

// Microseconds of CPU time in each period, from "max 100000", "150000 100000" or two files.
double cores_in(const std::string& quota, const std::string& period) {
  const double time = std::atof(quota.c_str());
  const double every = std::atof(period.c_str());
  return time > 0 && every > 0 ? time / every : INFINITY;
}

std::string first_word(const fs::path& path) {
  std::string word;
  std::ifstream(path) >> word;
  return word;
}

double cores_in_group(const fs::path& group) {
  std::string quota;
  std::string period;
  if (std::ifstream(group / "cpu.max") >> quota >> period) {
    return cores_in(quota, period);
  }
  return cores_in(first_word(group / "cpu.cfs_quota_us"), first_word(group / "cpu.cfs_period_us"));
}

// The group and those around it, up to the mount point: each limits those in it. In a container the
// mount point may itself be the group, whose path outside is not to be seen.
double cores_in_hierarchy(const fs::path& mount, const fs::path& group) {
  double cores = cores_in_group(mount);
  for (fs::path inner = group.relative_path(); !inner.empty(); inner = inner.parent_path()) {
    cores = std::min(cores, cores_in_group(mount / inner));
  }
  return cores;
}

void raise_malloc_thresholds() {
#ifdef __GLIBC__
  if (malloc_is_ours_to_tune()) {
    ::mallopt(M_MMAP_THRESHOLD, 1 << 30);
    ::mallopt(M_TRIM_THRESHOLD, -1);  // never give memory back: the next step wants it again
  }
#endif
}

void hold_openblas_to_quota() {
  auto* const get = loaded_function<int()>("openblas_get_num_threads");
  auto* const set = loaded_function<void(int)>("openblas_set_num_threads");
  if (get == nullptr || set == nullptr || is_set("OPENBLAS_NUM_THREADS") ||
      is_set("OMP_NUM_THREADS")) {
    return;
  }
  if (get() > available_cores()) {
    set(available_cores());
  }
}

}  // namespace

void tune_process() {
  auto* const config = loaded_function<char*()>("openblas_get_config");
  if (config != nullptr && !is_set("OPENBLAS_CORETYPE")) {
    const std::string core = better_openblas_core(openblas_core(), config(), cpu_has_avx512());
    if (!core.empty()) {
      use_openblas_core(core);
    }
  }
  raise_malloc_thresholds();
  hold_openblas_to_quota();
}

int available_cores() {
  const int quota = cores_by_quota("/");
  const int cores = cores_by_affinity();
  return std::max(1, quota > 0 ? std::min(quota, cores) : cores);
}

std::string proc_value(const fs::path& path, std::string_view key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(':');
    if (line.starts_with(key) && colon != std::string::npos) {
      const size_t start = line.find_first_not_of(" \t", colon + 1);
      return start == std::string::npos ? "" : line.substr(start);
    }
  }
  return "";
}

std::string processor_name() {
  const std::string name = proc_value("/proc/cpuinfo", "model name");
  return name.empty() ? "unknown" : name;
}

int default_threads() {
  const char* const wish = std::getenv("OMP_NUM_THREADS");
  const int threads = wish == nullptr ? 0 : std::atoi(wish);
  return threads > 0 ? threads : available_cores();
}

void reset_peak_memory() {
  if (auto* const release = loaded_function<void()>("MallocExtension_ReleaseFreeMemory")) {
    release();  // tcmalloc
  }
#ifdef __GLIBC__
  ::malloc_trim(0);
#endif
  std::ofstream("/proc/self/clear_refs") << "5";
}

double peak_memory_mb() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) {  // unlike getrusage's, reset by clear_refs
      return std::atof(line.c_str() + std::strlen("VmHWM:")) / 1024.0;
    }
  }
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024.0;
}

std::string malloc_provider() {
  Dl_info info{};
  void* const symbol = ::dlsym(RTLD_DEFAULT, "malloc");
  if (symbol == nullptr || ::dladdr(symbol, &info) == 0 || info.dli_fname == nullptr) {
    return "unknown";
  }
  return fs::path(info.dli_fname).filename().string();
}

bool malloc_is_ours_to_tune() {
  const std::string provider = malloc_provider();
  const char* const tunables = std::getenv("GLIBC_TUNABLES");
  return (provider.starts_with("libc.so") || provider.starts_with("libc-")) &&
         !is_set("MALLOC_MMAP_THRESHOLD_") && !is_set("MALLOC_TRIM_THRESHOLD_") &&
         !is_set("MALLOC_TOP_PAD_") && !is_set("MALLOC_MMAP_MAX_") &&
         (tunables == nullptr ||
          std::string_view(tunables).find("glibc.malloc") == std::string_view::npos);
}

std::string openblas_core() {
  auto* const name = loaded_function<char*()>("openblas_get_corename");
  return name == nullptr ? "" : name();
}

std::string better_openblas_core(const std::string& core, const std::string& config,
                                 bool cpu_has_avx512) {
  constexpr std::array<std::string_view, 4> kGood = {"SkylakeX", "Cooperlake", "SapphireRapids",
                                                     "Zen4"};
  const bool good = std::find(kGood.begin(), kGood.end(), core) != kGood.end();
  const bool has_choice = config.find("DYNAMIC_ARCH") != std::string::npos;
  return cpu_has_avx512 && has_choice && !good ? "SkylakeX" : "";
}

bool cpu_has_avx512() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512cd");
#else
  return false;
#endif
}

int cores_by_quota(const fs::path& root) {
  double cores = INFINITY;
  std::ifstream groups(root / "proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // "0::/a/b" or "4:cpu,cpuacct:/a/b"
    std::istringstream fields(line);
    std::string id;
    std::string controllers;
    std::string group;
    std::getline(fields, id, ':');
    std::getline(fields, controllers, ':');
    std::getline(fields, group);
    if (controllers.empty() || ("," + controllers + ",").find(",cpu,") != std::string::npos) {
      const fs::path mount = root / "sys/fs/cgroup" / controllers;
      cores = std::min(cores, cores_in_hierarchy(mount, group));
    }
  }
  return std::isinf(cores) ? 0 : static_cast<int>(std::min(std::ceil(cores), 1e6));
}

bool use_openblas_core(const std::string& core) {
  // Starting the program anew with OPENBLAS_CORETYPE set has the same effect, but loads LibTorch,
  // most of a second, once more.
  auto* const quit = loaded_function<void()>("gotoblas_dynamic_quit");
  auto* const init = loaded_function<void()>("gotoblas_dynamic_init");
  if (quit == nullptr || init == nullptr) {
    return false;
  }
  ::setenv("OPENBLAS_CORETYPE", core.c_str(), 1);
  quit();
  init();
  ::unsetenv("OPENBLAS_CORETYPE");
  return openblas_core() == core;
}

}  // namespace unbraid
