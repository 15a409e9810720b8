#pragma once

#include <string>
#include <vector>

namespace unbraid {

/// Something about this machine that matters to training.
struct Finding {
  std::string name;    // "BLAS"
  std::string value;   // "OpenBLAS 0.3.21, Cooperlake kernels"
  std::string advice;  // one line; empty when nothing is wrong
};

/// Looks at the machine, the libraries and this process, and measures a matrix product. Takes below
/// a second and never throws.
std::vector<Finding> examine_machine();

/// One line a finding, its advice below it.
std::string format_findings(const std::vector<Finding>& findings);

/// What is known about the library that provides sgemm.
struct BlasLibrary {
  std::string file = {};             // where sgemm_ comes from, links resolved
  std::string openblas_config = {};  // openblas_get_config(), empty if not loaded
  std::string openblas_core = {};
  bool single_threaded = false;
  bool torch_has_mkl = false;
};

Finding judge_blas(const BlasLibrary& library, bool cpu_has_avx512, int cores);
/// `threads` are those that LibTorch uses, `cores` those that the process may use.
Finding judge_threads(int threads, int cores, int cores_of_machine);
/// `gflops` of a float32 product with this many threads; `flags` of /proc/cpuinfo.
Finding judge_speed(double gflops, int threads, const std::string& flags);
Finding judge_bf16(const std::string& flags);

}  // namespace unbraid
