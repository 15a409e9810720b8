#pragma once

#include <memory>
#include <string>

#include "unbraid/data/tensor_cache.h"
#include "unbraid/media/decoder.h"

namespace unbraid {

/// Another decoder whose decoded samples are kept: what was decoded once, by any process, is read
/// from the cache until its file or the settings of decoding change.
class CachedDecoder final : public Decoder {
 public:
  CachedDecoder(std::shared_ptr<const Decoder> decoder, std::shared_ptr<TensorCache> cache)
      : decoder_(std::move(decoder)), cache_(std::move(cache)) {}

  [[nodiscard]] std::string resolve(const std::string& cell,
                                    const std::string& folder) const override {
    return decoder_->resolve(cell, folder);
  }
  void check(const std::string& cell) const override { decoder_->check(cell); }
  [[nodiscard]] torch::Tensor decode(const std::string& cell) const override {
    const std::string key = decoder_->cache_key(cell);
    if (key.empty()) {
      return decoder_->decode(cell);
    }
    if (const auto kept = cache_->find(key)) {
      return *kept;
    }
    torch::Tensor decoded = decoder_->decode(cell);
    cache_->store(key, decoded);
    return decoded;
  }
  [[nodiscard]] torch::Tensor transform(const torch::Tensor& decoded,
                                        const SampleContext& context) const override {
    return decoder_->transform(decoded, context);
  }
  [[nodiscard]] std::string cache_key(const std::string& cell) const override {
    return decoder_->cache_key(cell);
  }

 private:
  std::shared_ptr<const Decoder> decoder_;
  std::shared_ptr<TensorCache> cache_;
};

}  // namespace unbraid
