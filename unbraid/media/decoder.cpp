#include "unbraid/media/decoder.h"

#include <array>
#include <filesystem>
#include <utility>

#include "unbraid/media/array.h"
#include "unbraid/media/audio.h"
#include "unbraid/media/forwarding_decoder.h"
#include "unbraid/media/image.h"
#include "unbraid/media/limits.h"
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

/// Another decoder, held to limits.
class LimitedDecoder final : public ForwardingDecoder {
 public:
  LimitedDecoder(std::shared_ptr<const Decoder> decoder, const DecodeLimits& limits)
      : ForwardingDecoder(std::move(decoder)), limits_(limits) {}

  [[nodiscard]] torch::Tensor decode(const std::string& cell) const override {
    const DecodeBudget budget(limits_);
    return ForwardingDecoder::decode(cell);
  }
  [[nodiscard]] torch::Tensor load(const std::string& cell,
                                   const SampleContext& context) const override {
    const DecodeBudget budget(limits_);
    return ForwardingDecoder::load(cell, context);
  }

 private:
  DecodeLimits limits_;
};

}  // namespace

std::string Decoder::resolve(const std::string& cell, const std::string& folder) const {
  return (std::filesystem::path(folder) / cell).string();
}

std::shared_ptr<const Decoder> make_decoder(Options& options) {
  constexpr double kMiB = 1 << 20;
  DecodeLimits limits;
  const double megabytes = options.number("decode_mb", static_cast<double>(limits.bytes) / kMiB,
                                          {.min = 0, .max = 1 << 20, .open_min = true});
  limits.bytes = static_cast<int64_t>(megabytes * kMiB);
  limits.seconds =
      options.number("decode_seconds", limits.seconds, {.min = 0, .max = 1e6, .open_min = true});
  return std::make_shared<LimitedDecoder>(choose(options, kKinds, "kind").build(options), limits);
}

}  // namespace unbraid
