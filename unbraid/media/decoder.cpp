#include "unbraid/media/decoder.h"

#include <array>
#include <filesystem>

#include "unbraid/media/array.h"
#include "unbraid/media/audio.h"
#include "unbraid/media/image.h"
#include "unbraid/media/text.h"
#include "unbraid/media/video.h"

namespace unbraid {
namespace {

template <typename T>
std::shared_ptr<const Decoder> build(Options& options) {
  return std::make_shared<const T>(options);
}

struct Kind {
  const char* type;
  std::shared_ptr<const Decoder> (*build)(Options& options);
};

constexpr std::array kKinds = {
    Kind{"audio", build<AudioDecoder>}, Kind{"image", build<ImageDecoder>},
    Kind{"video", build<VideoDecoder>}, Kind{"array", build<ArrayDecoder>},
    Kind{"text", build<TextDecoder>},
};

}  // namespace

std::string Decoder::resolve(const std::string& cell, const std::string& folder) const {
  return (std::filesystem::path(folder) / cell).string();
}

std::shared_ptr<const Decoder> make_decoder(Options& options) {
  return choose(options, kKinds, "kind").build(options);
}

}  // namespace unbraid
