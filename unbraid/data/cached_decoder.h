#pragma once

#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <unordered_map>
#include <utility>

#include "unbraid/data/tensor_cache.h"
#include "unbraid/media/forwarding_decoder.h"

namespace unbraid {

/// Another decoder whose decoded samples are kept: what was decoded once, by any process, is read
/// from the cache unless its file or the settings of decoding have changed. A file is looked at
/// when its cell is first asked for: what becomes of it later is seen by the next decoder.
class CachedDecoder final : public ForwardingDecoder {
 public:
  CachedDecoder(std::shared_ptr<const Decoder> decoder, std::shared_ptr<TensorCache> cache)
      : ForwardingDecoder(std::move(decoder)), cache_(std::move(cache)) {}

  [[nodiscard]] torch::Tensor decode(const std::string& cell) const override {
    const std::string key = key_of(cell);
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
    return transform(decode(cell), context);
  }

 private:
  // Files of a cell are looked at once: that takes half as long as all the rest.
  std::string key_of(const std::string& cell) const {
    {
      const std::shared_lock lock(mutex_);
      if (const auto known = keys_.find(cell); known != keys_.end()) {
        return known->second;
      }
    }
    std::string key = cache_key(cell);
    const std::unique_lock lock(mutex_);
    return keys_.emplace(cell, std::move(key)).first->second;
  }

  std::shared_ptr<TensorCache> cache_;
  mutable std::shared_mutex mutex_;
  mutable std::unordered_map<std::string, std::string> keys_;  // by cell
};

}  // namespace unbraid
