#include "unbraid/media/decoder.h"

#include <array>
#include <vector>

#include "unbraid/media/array.h"
#include "unbraid/media/audio.h"
#include "unbraid/media/image.h"

namespace unbraid {
namespace {

template <typename T>
std::shared_ptr<const Decoder> build(Options& options) {
  return std::make_shared<const T>(options);
}

struct Kind {
  const char* name;
  std::shared_ptr<const Decoder> (*build)(Options& options);
};

constexpr std::array kKinds = {
    Kind{"audio", build<AudioDecoder>},
    Kind{"image", build<ImageDecoder>},
    Kind{"array", build<ArrayDecoder>},
};

}  // namespace

std::shared_ptr<const Decoder> make_decoder(Options& options) {
  std::vector<std::string> names;
  for (const Kind& kind : kKinds) {
    names.emplace_back(kind.name);
  }
  const std::string chosen = options.choice("kind", names);
  size_t index = 0;
  while (kKinds[index].name != chosen) {
    ++index;
  }
  return kKinds[index].build(options);
}

}  // namespace unbraid
