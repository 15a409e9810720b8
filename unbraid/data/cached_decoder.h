#pragma once

#include <memory>
#include <string>

#include "unbraid/data/tensor_cache.h"
#include "unbraid/media/forwarding_decoder.h"

namespace unbraid {

/// Another decoder whose decoded samples are kept: what was decoded once, by any process, is read
/// from the cache until its file or the settings of decoding change.
class CachedDecoder final : public ForwardingDecoder {
 public:
  CachedDecoder(std::shared_ptr<const Decoder> decoder, std::shared_ptr<TensorCache> cache)
      : ForwardingDecoder(std::move(decoder)), cache_(std::move(cache)) {}

  [[nodiscard]] torch::Tensor decode(const std::string& cell) const override {
    const std::string key = cache_key(cell);
    if (key.empty()) {
      return ForwardingDecoder::decode(cell);
    }
    if (const auto kept = cache_->find(key)) {
      return *kept;
    }
    torch::Tensor decoded = ForwardingDecoder::decode(cell);
    cache_->store(key, decoded);
    return decoded;
  }
  // The whole of what is decoded, since that is what is kept.
  [[nodiscard]] torch::Tensor load(const std::string& cell,
                                   const SampleContext& context) const override {
    return Decoder::load(cell, context);
  }

 private:
  std::shared_ptr<TensorCache> cache_;
};

}  // namespace unbraid
