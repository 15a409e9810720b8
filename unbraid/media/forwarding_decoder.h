#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "unbraid/media/decoder.h"

namespace unbraid {

/// Does what another decoder does, but for the steps that a derived class puts its own in place of.
class ForwardingDecoder : public Decoder {
 public:
  explicit ForwardingDecoder(std::shared_ptr<const Decoder> decoder)
      : decoder_(std::move(decoder)) {}

  [[nodiscard]] std::string resolve(const std::string& cell,
                                    const std::string& folder) const override {
    return decoder_->resolve(cell, folder);
  }
  void check(const std::string& cell) const override { decoder_->check(cell); }
  [[nodiscard]] std::vector<std::string> files(const std::string& cell) const override {
    return decoder_->files(cell);
  }
  [[nodiscard]] torch::Tensor decode(const std::string& cell) const override {
    return decoder_->decode(cell);
  }
  [[nodiscard]] torch::Tensor transform(const torch::Tensor& decoded,
                                        const SampleContext& context) const override {
    return decoder_->transform(decoded, context);
  }
  [[nodiscard]] torch::Tensor load(const std::string& cell,
                                   const SampleContext& context) const override {
    return decoder_->load(cell, context);
  }
  [[nodiscard]] std::string cache_key(const std::string& cell) const override {
    return decoder_->cache_key(cell);
  }

 private:
  std::shared_ptr<const Decoder> decoder_;
};

}  // namespace unbraid
