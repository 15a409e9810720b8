#include "unbraid/media/text.h"

#include <xxhash.h>

#include <algorithm>

#include <fmt/format.h>

#include "unbraid/models/encoders/embedding.h"

namespace unbraid {

namespace {

// An embedding needs a row for each id and has to know the padding: found before any training.
void check_encoder(Options& options, int64_t ids, int64_t padding) {
  Options encoder = options.table("encoder");
  if (!encoder.has("type") || encoder.text("type") != "embedding") {
    return;
  }
  const int64_t rows = encoder.integer("vocab_size", EmbeddingEncoder::kVocabSize);
  if (rows < ids) {
    throw encoder.error("vocab_size", fmt::format("expected at least {}, as many as the text has "
                                                  "ids, got {}",
                                                  ids, rows));
  }
  if (const int64_t known = encoder.integer("padding", 0); known != padding) {
    throw encoder.error("padding", fmt::format("expected {}, the id of the text's padding, got {}",
                                               padding, known));
  }
}

}  // namespace

TextDecoder::TextDecoder(Options& options)
    : length_(options.integer("length", 40, {1, 1 << 20})),
      lower_(options.boolean("lower", true)),
      vocabulary_(options.path("vocab", "")) {
  if (vocabulary_.empty()) {
    characters_ = options.choice("tokens", {"words", "characters"}, "words") == "characters";
    hashed_ids_ = options.integer("ids", 30000, {2, 1 << 24});
    check_encoder(options, hashed_ids_, 0);
    return;
  }
  for (const char* key : {"tokens", "ids"}) {
    if (options.has(key)) {
      throw options.error(key, "does not apply with vocab, which decides it");
    }
  }
  pieces_ = std::make_unique<const WordPieces>(vocabulary_);
  check_encoder(options, pieces_->size(), pieces_->padding());
  if (length_ < 3) {
    throw options.error("length", "expected at least 3: [CLS], a piece and [SEP]");
  }
}

void TextDecoder::check(const std::string& cell) const { check_utf8(cell); }

std::vector<std::string> TextDecoder::files(const std::string& /*cell*/) const {
  return vocabulary_.empty() ? std::vector<std::string>{} : std::vector<std::string>{vocabulary_};
}

std::vector<int64_t> TextDecoder::ids_of(const std::string& cell) const {
  const auto length = static_cast<size_t>(length_);
  std::vector<int64_t> ids;
  if (pieces_ != nullptr) {
    ids = pieces_->ids(split_words(cell, lower_));
    ids.resize(std::min(ids.size(), length - 2));
    ids.insert(ids.begin(), pieces_->start());
    ids.push_back(pieces_->end());
    ids.resize(length, pieces_->padding());
    return ids;
  }
  for (const std::string& token :
       characters_ ? split_characters(cell, lower_) : split_words(cell, lower_)) {
    const uint64_t hash = XXH3_64bits(token.data(), token.size());
    ids.push_back(1 + static_cast<int64_t>(hash % static_cast<uint64_t>(hashed_ids_ - 1)));
  }
  ids.resize(length, 0);
  return ids;
}

torch::Tensor TextDecoder::decode(const std::string& cell) const {
  return torch::tensor(ids_of(cell), torch::kLong);
}

}  // namespace unbraid
