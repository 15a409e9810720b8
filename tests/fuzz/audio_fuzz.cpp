#include "tests/fuzz/fuzz_file.h"
#include "unbraid/media/sound.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return unbraid::fuzz::expect_error_at_most(data, size, [](const std::string& path) {
    static_cast<void>(unbraid::read_audio(path, 16000));
  });
}
