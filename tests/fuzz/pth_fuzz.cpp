#include "tests/fuzz/fuzz_file.h"
#include "unbraid/training/torch_file.h"

// A state dict of PyTorch, as an archive or in the older format; the values of small tensors are
// looked at.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return unbraid::fuzz::expect_error_at_most(data, size, [](const std::string& path) {
    constexpr int64_t kLooked = 1 << 20;
    for (const auto& [name, tensor] : unbraid::read_torch_file(unbraid::File(path))) {
      if (tensor.numel() < kLooked) {
        static_cast<void>(tensor.contiguous().clone());
      }
    }
  });
}
