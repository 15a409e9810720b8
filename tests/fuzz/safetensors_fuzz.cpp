#include <cstdint>
#include <string_view>

#include "unbraid/core/error.h"
#include "unbraid/core/safetensors_header.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    unbraid::parse_safetensors_header({reinterpret_cast<const char*>(data), size}, 64, "fuzz");
  } catch (const unbraid::Error&) {
    return 0;
  }
  return 0;
}
