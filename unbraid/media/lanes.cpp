#include "unbraid/media/lanes.h"

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "unbraid/core/process.h"

namespace unbraid {
namespace {

Simd best_of_machine() {
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0) {
    return cpu_has_avx512() ? Simd::kAvx512 : Simd::kAvx2;
  }
#endif
  return Simd::kNone;
}

}  // namespace

Simd simd() {
  static const Simd kChosen = [] {
    const char* const given = std::getenv("UNBRAID_SIMD");
    const std::string_view wish = given == nullptr ? "" : given;
    const Simd most = wish == "none" ? Simd::kNone : wish == "avx2" ? Simd::kAvx2 : Simd::kAvx512;
    return std::min(most, best_of_machine());
  }();
  return kChosen;
}

}  // namespace unbraid
