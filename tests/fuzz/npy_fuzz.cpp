#include <vector>

#include "tests/fuzz/fuzz_file.h"
#include "unbraid/media/npy.h"
#include "unbraid/media/npz.h"

// A .npz when it starts like one, else a .npy.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return unbraid::fuzz::expect_error_at_most(data, size, [](const std::string& path) {
    constexpr int64_t kMaxBytes = 1 << 24;
    const unbraid::File file(path);
    const bool zip = file.read(0, unbraid::kZipMagic.size()) == unbraid::kZipMagic;
    const unbraid::NpyArray array(
        zip ? unbraid::read_npz_member(file, "a", kMaxBytes) : unbraid::read_file(file, kMaxBytes),
        path);
    std::vector<float> values(static_cast<size_t>(array.size()));
    array.read(0, values);
  });
}
