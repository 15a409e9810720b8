#include <vector>

#include "unbraid/core/error.h"
#include "unbraid/media/numpy_pickle.h"

// A pickle whose values, or their values, may be arrays.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const unbraid::Pickle pickle({reinterpret_cast<const char*>(data), size}, "fuzz");
    std::vector<const unbraid::PickleValue*> values = pickle.root().items;
    values.push_back(&pickle.root());
    for (const unbraid::PickleValue* value : values) {
      if (value == nullptr) {
        continue;
      }
      try {
        const unbraid::PickledArray array(pickle, *value, "array");
        std::vector<float> numbers(array.is_numeric() ? static_cast<size_t>(array.size()) : 0);
        if (array.is_numeric()) {
          array.read(0, numbers);
        }
        for (int64_t i = 0; i < array.size() && !array.is_numeric(); ++i) {
          static_cast<void>(array.text(i));
        }
      } catch (const unbraid::Error&) {
        continue;
      }
    }
  } catch (const unbraid::Error&) {
    return 0;
  }
  return 0;
}
