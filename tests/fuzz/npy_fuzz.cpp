#include <vector>

#include "tests/fuzz/fuzz_file.h"
#include "unbraid/media/npy.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const unbraid::NpyArray array(std::string(reinterpret_cast<const char*>(data), size), "fuzz");
    std::vector<float> values(static_cast<size_t>(array.size()));
    array.read(0, values);
  } catch (const unbraid::Error&) {
    return 0;
  }
  return 0;
}
