#include "unbraid/training/doctor.h"

#include <algorithm>
#include <chrono>
#include <string>

#include <gtest/gtest.h>

#include "unbraid/core/torch.h"

namespace unbraid {
namespace {

constexpr const char* kOpenBlas = "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH NO_AFFINITY Haswell";

TEST(Doctor, ExaminesThisMachineInASecond) {
  const auto start = std::chrono::steady_clock::now();
  const std::vector<Finding> findings = examine_machine();
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));  // busy machines
  const auto value = [&](const std::string& name) {
    const auto found = std::find_if(findings.begin(), findings.end(),
                                    [&](const Finding& finding) { return finding.name == name; });
    return found == findings.end() ? "" : found->value;
  };
  for (const char* name :
       {"LibTorch", "BLAS", "threads", "matrix product", "instruction sets", "bf16", "GPU",
        "allocator", "memory", "transparent huge pages", "cache folder", "espeak-ng"}) {
    EXPECT_NE(value(name), "") << name;
    EXPECT_EQ(value(name).find("cannot tell"), std::string::npos) << value(name);
  }
  EXPECT_EQ(value("LibTorch").rfind(TORCH_VERSION, 0), 0U);
  EXPECT_GT(std::stod(value("matrix product")), 0.1);
  for (const Finding& finding : findings) {
    EXPECT_EQ((finding.value + finding.advice).find('\n'), std::string::npos) << finding.name;
  }
}

TEST(Doctor, LaysOutFindings) {
  EXPECT_EQ(format_findings({{"BLAS", "slow", "install another"}, {"memory", "enough", ""}}),
            "BLAS    slow\n"
            "        -> install another\n"
            "memory  enough\n");
  EXPECT_EQ(format_findings({}), "");
}

TEST(Doctor, FindsTheReferenceBlas) {
  const Finding finding = judge_blas({.file = "/usr/lib/blas/libblas.so.3.11.0"}, true, 2);
  EXPECT_EQ(finding.value, "the reference BLAS, /usr/lib/blas/libblas.so.3.11.0");
  EXPECT_EQ(finding.advice, "install the threaded OpenBLAS: apt install libopenblas0-pthread");
  EXPECT_EQ(judge_blas({.file = "/x/libmkl_rt.so"}, true, 2).value, "Intel MKL");
  EXPECT_EQ(judge_blas({.torch_has_mkl = true}, true, 2).value, "Intel MKL");
  EXPECT_EQ(judge_blas({.file = "/x/libblis.so.4"}, true, 2).value, "/x/libblis.so.4");
  EXPECT_EQ(judge_blas({}, true, 2).value, "part of LibTorch");
}

TEST(Doctor, JudgesTheKernelsOfOpenBlas) {
  BlasLibrary library = {.file = "/x/openblas-pthread/libblas.so.3",
                         .openblas_config = kOpenBlas,
                         .openblas_core = "Haswell"};
  EXPECT_EQ(judge_blas(library, false, 2).value, "OpenBLAS 0.3.21, Haswell kernels");
  EXPECT_EQ(judge_blas(library, false, 2).advice, "");
  EXPECT_EQ(judge_blas(library, true, 2).advice, "set OPENBLAS_CORETYPE=SkylakeX for this CPU");
  library.file = "/x/blas/libblas.so.3";  // OpenBLAS is loaded too, but is not what multiplies
  EXPECT_EQ(judge_blas(library, true, 2).value, "the reference BLAS, /x/blas/libblas.so.3");
  library.file = "/x/libopenblas.so.0";
  library.single_threaded = true;
  EXPECT_EQ(judge_blas(library, false, 1).advice, "");
  EXPECT_NE(judge_blas(library, false, 2).advice, "");
}

TEST(Doctor, JudgesThreadsSpeedAndBf16) {
  EXPECT_EQ(judge_threads(2, 2, 4).advice, "");
  EXPECT_EQ(judge_threads(2, 2, 4).value, "2 on 2 of 4 cores");
  EXPECT_EQ(judge_threads(8, 2, 4).advice,
            "more threads than cores slow each other: set OMP_NUM_THREADS=2");
  EXPECT_EQ(judge_threads(1, 4, 4).advice,
            "cores stay idle: unset OMP_NUM_THREADS, or set it to 4");
  EXPECT_EQ(judge_speed(100, 2, "sse2 avx2").advice, "");
  EXPECT_NE(judge_speed(20, 2, "sse2 avx2").advice, "");
  EXPECT_EQ(judge_speed(20, 2, "sse2").advice, "");
  EXPECT_EQ(judge_bf16("avx2 avx512_bf16 amx_bf16").value, "avx512_bf16 amx_bf16");
  EXPECT_EQ(judge_bf16("avx2 avx512_bf16").advice, "");
  EXPECT_NE(judge_bf16("avx2 avx512f").advice, "");
}

}  // namespace
}  // namespace unbraid
