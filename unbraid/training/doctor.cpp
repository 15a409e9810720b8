#include "unbraid/training/doctor.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <sstream>
#include <string_view>
#include <system_error>
#include <utility>

#include <dlfcn.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <malloc.h>
#include <unistd.h>

#include "unbraid/core/process.h"
#include "unbraid/core/torch.h"

namespace unbraid {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;
constexpr std::string_view kInstallOpenBlas =
    "install the threaded OpenBLAS: apt install libopenblas0-pthread";

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

bool has_flag(const std::string& flags, std::string_view flag) {
  std::istringstream words(flags);
  for (std::string word; words >> word;) {
    if (word == flag) {
      return true;
    }
  }
  return false;
}

std::string cpu_flags() {
  const std::string flags = proc_value("/proc/cpuinfo", "flags");
  return flags.empty() ? proc_value("/proc/cpuinfo", "Features") : flags;  // x86, ARM
}

bool torch_has_cuda() { return contains(at::show_config(), "CUDA Runtime"); }

Finding torch_version() {
  return {"LibTorch",
          fmt::format("{}, {}", TORCH_VERSION, torch_has_cuda() ? "with CUDA" : "without CUDA"),
          ""};
}

BlasLibrary blas_library() {
  BlasLibrary library;
  library.torch_has_mkl = at::hasMKL();
  Dl_info info{};
  void* const sgemm = ::dlsym(RTLD_DEFAULT, "sgemm_");
  if (sgemm != nullptr && ::dladdr(sgemm, &info) != 0 && info.dli_fname != nullptr) {
    std::error_code error;
    library.file = fs::weakly_canonical(info.dli_fname, error).string();
  }
  if (auto* const config =
          reinterpret_cast<char* (*)()>(::dlsym(RTLD_DEFAULT, "openblas_get_config"))) {
    library.openblas_config = config();
    library.openblas_core = openblas_core();
  }
  if (auto* const parallel =
          reinterpret_cast<int (*)()>(::dlsym(RTLD_DEFAULT, "openblas_get_parallel"))) {
    library.single_threaded = parallel() == 0;
  }
  return library;
}

// The best of the products that fit into the time, at least one.
double measure_gflops(int64_t size, double seconds) {
  const torch::NoGradGuard no_grad;
  const torch::Tensor left = torch::ones({size, size});
  const torch::Tensor right = torch::ones({size, size});
  torch::Tensor product = torch::empty({size, size});
  double best = 0;
  const auto start = Clock::now();
  do {
    const auto before = Clock::now();
    torch::mm_out(product, left, right);
    const double elapsed = std::chrono::duration<double>(Clock::now() - before).count();
    best = std::max(best, 2e-9 * static_cast<double>(size * size * size) / elapsed);
  } while (std::chrono::duration<double>(Clock::now() - start).count() < seconds);
  return best;
}

Finding speed() {
  double gflops = measure_gflops(512, 0.05);
  if (gflops > 10) {  // else one larger product alone takes too long
    gflops = std::max(gflops, measure_gflops(1024, 0.3));
  }
  return judge_speed(gflops, at::get_num_threads(), cpu_flags());
}

Finding instruction_sets() {
  const std::string flags = cpu_flags();
  std::vector<std::string_view> present;
  for (const std::string_view flag :
       {"avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16",
        "avx512_fp16", "amx_tile", "asimd", "sve", "bf16"}) {
    if (has_flag(flags, flag)) {
      present.push_back(flag);
    }
  }
  const bool old_x86 =
      has_flag(flags, "sse2") && !(has_flag(flags, "avx2") && has_flag(flags, "fma"));
  return {"instruction sets",
          present.empty() ? "none that matter" : fmt::format("{}", fmt::join(present, " ")),
          old_x86 ? "without AVX2 and FMA everything is several times slower: train elsewhere, or "
                    "show the virtual machine the CPU of its host"
                  : ""};
}

#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 33)
bool glibc_reuses_large_blocks() {
  const size_t before = ::mallinfo2().hblks;
  const std::unique_ptr<void, void (*)(void*)> block(std::malloc(size_t{64} << 20), std::free);
  return ::mallinfo2().hblks == before;
}
#else
bool glibc_reuses_large_blocks() { return malloc_is_ours_to_tune(); }
#endif

Finding allocator() {
  const std::string provider = malloc_provider();
  if (!provider.starts_with("libc.so") && !provider.starts_with("libc-")) {
    return {"allocator", provider, ""};
  }
  if (glibc_reuses_large_blocks()) {
    return {"allocator", "glibc, keeps freed memory for the next step", ""};
  }
  return {"allocator", "glibc, returns large blocks at once",
          "every step fetches its memory from the kernel anew: unset MALLOC_*_ and GLIBC_TUNABLES"};
}

std::vector<std::string> nvidia_cards() {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator card("/proc/driver/nvidia/gpus", error), end; !error && card != end;
       card.increment(error)) {
    names.push_back(proc_value(card->path() / "information", "Model"));
  }
  return names;
}

Finding gpu() {
  const std::vector<std::string> cards = nvidia_cards();
  const std::string names = fmt::format("{}", fmt::join(cards, ", "));
  if (torch::cuda::is_available()) {
    return {
        "GPU",
        fmt::format("{} usable{}{}", torch::cuda::device_count(), names.empty() ? "" : ": ", names),
        ""};
  }
  if (cards.empty()) {
    return {"GPU", "none", ""};
  }
  return {"GPU", fmt::format("{}, not usable", names),
          torch_has_cuda()
              ? "LibTorch cannot use it: see whether nvidia-smi works and the driver "
                "is new enough for its CUDA"
              : "this LibTorch was built without CUDA: build with one from pytorch.org"};
}

Finding memory() {
  const auto gib = [](std::string_view key) {
    return std::atof(proc_value("/proc/meminfo", key).c_str()) * 1024 / kGiB;  // given in kB
  };
  const double available = gib("MemAvailable");
  return {"memory", fmt::format("{:.1f} GiB available of {:.1f}", available, gib("MemTotal")),
          available < 2 ? "end other programs, or train with a smaller batch_size" : ""};
}

Finding huge_pages() {
  std::string text;
  std::getline(std::ifstream("/sys/kernel/mm/transparent_hugepage/enabled"), text);
  const size_t open = text.find('[');
  const size_t close = text.find(']');
  const bool known = open != std::string::npos && close != std::string::npos && open < close;
  return {"transparent huge pages", known ? text.substr(open + 1, close - open - 1) : "unknown",
          ""};
}

Finding cache_folder() {
  const char* const cache = std::getenv("XDG_CACHE_HOME");
  const char* const home = std::getenv("HOME");
  if ((cache == nullptr || cache[0] != '/') && home == nullptr) {
    return {"cache folder", "none", "set HOME or XDG_CACHE_HOME, where generated data is kept"};
  }
  const fs::path folder =
      (cache != nullptr && cache[0] == '/' ? fs::path(cache) : fs::path(home) / ".cache") /
      "unbraid";
  fs::path existing = folder;
  while (!fs::exists(existing) && existing.has_relative_path()) {
    existing = existing.parent_path();
  }
  const double free = static_cast<double>(fs::space(existing).available) / kGiB;
  return {"cache folder", fmt::format("{}, {:.1f} GiB free", folder.string(), free),
          free < 1 ? "free some space, or set XDG_CACHE_HOME to a folder on another disk" : ""};
}

Finding speech_synthesis() {
  std::array<char, 200> line{};
  const std::unique_ptr<FILE, int (*)(FILE*)> output(
      ::popen("espeak-ng --version 2>/dev/null", "r"), ::pclose);
  if (!output || std::fgets(line.data(), line.size(), output.get()) == nullptr) {
    return {"espeak-ng", "not found", "the demo data needs it: apt install espeak-ng"};
  }
  const std::string_view text(line.data());
  const std::string_view version = text.substr(std::min(text.size(), text.find(": ") + 2));
  return {"espeak-ng", std::string(version.substr(0, version.find_first_of(" \n"))), ""};
}

}  // namespace

Finding judge_blas(const BlasLibrary& library, bool cpu_has_avx512, int cores) {
  const std::string name = fs::path(library.file).filename().string();
  // OpenBLAS may be loaded, for LAPACK, while sgemm comes from elsewhere.
  if (!library.openblas_config.empty() && contains(library.file, "openblas")) {
    const std::string& config = library.openblas_config;
    const size_t end = config.find(' ', config.find(' ') + 1);  // "OpenBLAS 0.3.21 NO_LAPACKE …"
    const std::string value =
        fmt::format("{}, {} kernels{}", config.substr(0, end), library.openblas_core,
                    library.single_threaded ? ", one thread" : "");
    if (library.single_threaded && cores > 1) {
      return {"BLAS", value, std::string(kInstallOpenBlas)};
    }
    const std::string better = better_openblas_core(library.openblas_core, config, cpu_has_avx512);
    return {"BLAS", value,
            better.empty() ? "" : fmt::format("set OPENBLAS_CORETYPE={} for this CPU", better)};
  }
  if (library.torch_has_mkl || contains(name, "mkl")) {
    return {"BLAS", "Intel MKL", ""};
  }
  if (name.starts_with("libblas.so")) {
    return {"BLAS", fmt::format("the reference BLAS, {}", library.file),
            std::string(kInstallOpenBlas)};
  }
  return {"BLAS", library.file.empty() ? "part of LibTorch" : library.file, ""};
}

Finding judge_threads(int threads, int cores, int cores_of_machine) {
  const std::string value = fmt::format("{} on {} of {} cores", threads, cores, cores_of_machine);
  if (threads > cores) {
    return {"threads", value,
            fmt::format("more threads than cores slow each other: set OMP_NUM_THREADS={}", cores)};
  }
  return {"threads", value,
          threads < cores
              ? fmt::format("cores stay idle: unset OMP_NUM_THREADS, or set it to {}", cores)
              : ""};
}

Finding judge_speed(double gflops, int threads, const std::string& flags) {
  // A core of 2 GHz with AVX2 and FMA could do 64; nothing in order is below a quarter of that.
  constexpr double kLeastPerThread = 15;
  const bool slow = has_flag(flags, "avx2") && gflops < kLeastPerThread * threads;
  return {"matrix product", fmt::format("{:.0f} GFLOP/s in float32", gflops),
          slow ? "slow for this CPU: end other programs, or see BLAS and threads above" : ""};
}

Finding judge_bf16(const std::string& flags) {
  std::vector<std::string_view> present;
  for (const std::string_view flag : {"avx512_bf16", "amx_bf16", "bf16"}) {
    if (has_flag(flags, flag)) {
      present.push_back(flag);
    }
  }
  if (present.empty()) {
    return {"bf16", "emulated", "precision = \"bf16\" saves no time on this CPU: keep \"fp32\""};
  }
  return {"bf16", fmt::format("{}", fmt::join(present, " ")), ""};
}

std::vector<Finding> examine_machine() {
  const std::vector<std::pair<std::string, std::function<Finding()>>> examinations = {
      {"LibTorch", torch_version},
      {"BLAS", [] { return judge_blas(blas_library(), cpu_has_avx512(), available_cores()); }},
      {"threads",
       [] {
         return judge_threads(at::get_num_threads(), available_cores(),
                              static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN)));
       }},
      {"matrix product", speed},
      {"instruction sets", instruction_sets},
      {"bf16", [] { return judge_bf16(cpu_flags()); }},
      {"GPU", gpu},
      {"allocator", allocator},
      {"memory", memory},
      {"transparent huge pages", huge_pages},
      {"cache folder", cache_folder},
      {"espeak-ng", speech_synthesis}};
  std::vector<Finding> findings;
  for (const auto& [name, examine] : examinations) {
    try {
      findings.push_back(examine());
    } catch (const std::exception& error) {
      const std::string what = error.what();
      findings.push_back({name, "cannot tell: " + what.substr(0, what.find('\n')), ""});
    }
  }
  return findings;
}

std::string format_findings(const std::vector<Finding>& findings) {
  size_t width = 0;
  for (const Finding& finding : findings) {
    width = std::max(width, finding.name.size());
  }
  std::string text;
  for (const Finding& finding : findings) {
    text += fmt::format("{:{}}  {}\n", finding.name, width, finding.value);
    if (!finding.advice.empty()) {
      text += fmt::format("{:{}}  -> {}\n", "", width, finding.advice);
    }
  }
  return text;
}

}  // namespace unbraid
