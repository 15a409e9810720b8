#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace unbraid {

/// What a training program does for its user at its start; call it first in `main`, before any
/// arithmetic and any thread. Raises glibc's malloc thresholds, so that the memory of one step
/// serves the next; holds OpenBLAS to the cores that the container's quota grants; and where
/// OpenBLAS took older kernels on a CPU with AVX-512, gives it those for AVX-512. What the user has
/// set in the environment wins: OPENBLAS_CORETYPE, OPENBLAS_NUM_THREADS, OMP_NUM_THREADS,
/// MALLOC_*_, GLIBC_TUNABLES, a preloaded allocator. Never fails.
void tune_process();

/// The cores that this process may use, by its affinity mask and the quota of its control group (v1
/// or v2), a part of a core counting as one. At least 1.
int available_cores();

/// What stands after "key:" in the first such line of a file of /proc; empty if there is none.
std::string proc_value(const std::filesystem::path& path, std::string_view key);

/// The processor's name as the system gives it; "unknown" where it does not.
std::string processor_name();

/// Threads for the arithmetic: OMP_NUM_THREADS if that is a positive number, else
/// available_cores().
int default_threads();

/// Forgets the peak that peak_memory_mb reports, after giving back what the allocator keeps of
/// freed memory. Without effect where the system cannot do that.
void reset_peak_memory();

/// Most resident memory since reset_peak_memory, or since the start of the process, in MiB.
double peak_memory_mb();

/// The file that provides malloc: "libc.so.6", "libtcmalloc.so.4", …; the program itself if it was
/// linked in.
std::string malloc_provider();

/// True if tune_process would raise glibc's thresholds: malloc is glibc's and the user set nothing.
bool malloc_is_ours_to_tune();

/// The kernels OpenBLAS chose ("Haswell", "SkylakeX", …); empty if OpenBLAS is not loaded.
std::string openblas_core();

/// The value OPENBLAS_CORETYPE should have for an OpenBLAS of this configuration that chose `core`,
/// empty if its choice is as good.
std::string better_openblas_core(const std::string& core, const std::string& config,
                                 bool cpu_has_avx512);

/// AVX512 F, BW, DQ, VL and CD, which OpenBLAS' SkylakeX kernels take for granted.
bool cpu_has_avx512();

/// The quota of the control group in whole cores, rounded up; 0 if there is none. `root` stands for
/// "/", where proc and sys lie.
int cores_by_quota(const std::filesystem::path& root);

/// Makes OpenBLAS choose its kernels anew, as OPENBLAS_CORETYPE=`core` would. No arithmetic may be
/// under way. False if OpenBLAS is not loaded, cannot do that or has no such kernels.
bool use_openblas_core(const std::string& core);

}  // namespace unbraid
