#include "tests/fuzz/fuzz_file.h"
#include "unbraid/media/image.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return unbraid::fuzz::expect_error_at_most(data, size, [size](const std::string& path) {
    static_cast<void>(unbraid::read_image(path, size % 2 == 0 ? 3 : 1));
  });
}
