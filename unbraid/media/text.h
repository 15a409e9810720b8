#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "unbraid/media/decoder.h"
#include "unbraid/media/tokenizer.h"

namespace unbraid {

/// kind = "text": a cell is the text itself, in UTF-8. `decode` gives the ids of its first tokens,
/// int64 [length], padded at the end; `transform` leaves them.
///
/// With a vocabulary the tokens are BERT's: [CLS], the pieces of its words, [SEP], padded by [PAD].
/// Without one, every word or character gets an id from 1 to ids - 1 by a hash of it, so that
/// nothing has to be fitted; 0 is the padding.
///
/// Keys: length = 40, lower = true (lower case without accents, for an uncased vocabulary),
/// vocab = "" (a vocab.txt); without it tokens = "words" or "characters", ids = 30000.
class TextDecoder final : public Decoder {
 public:
  explicit TextDecoder(Options& options);

  [[nodiscard]] std::string resolve(const std::string& cell,
                                    const std::string& /*folder*/) const override {
    return cell;
  }
  void check(const std::string& cell) const override;
  [[nodiscard]] std::vector<std::string> files(const std::string& cell) const override;
  [[nodiscard]] torch::Tensor decode(const std::string& cell) const override;
  [[nodiscard]] torch::Tensor transform(const torch::Tensor& decoded,
                                        const SampleContext& /*context*/) const override {
    return decoded;
  }

 private:
  [[nodiscard]] std::vector<int64_t> ids_of(const std::string& cell) const;

  int64_t length_;
  bool lower_;
  std::string vocabulary_;                    // path; empty: none
  std::unique_ptr<const WordPieces> pieces_;  // null: hashed
  bool characters_ = false;
  int64_t hashed_ids_ = 0;
};

}  // namespace unbraid
