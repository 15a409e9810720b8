#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

namespace unbraid {

/// Throws DataError when `text` is not UTF-8.
void check_utf8(const std::string& text);

/// The words of `text` (UTF-8), as BERT cuts them: at white space, around each punctuation mark and
/// each Chinese character, without control characters; with `lower`, in lower case and without
/// accents. Throws DataError when the text is not UTF-8.
std::vector<std::string> split_words(const std::string& text, bool lower);

/// The characters (code points, UTF-8) of `text`, white space as one blank; `lower` and errors as
/// above.
std::vector<std::string> split_characters(const std::string& text, bool lower);

/// WordPiece (Wu et al., 2016) with the vocabulary of a BERT model.
class WordPieces {
 public:
  /// `path` is a vocab.txt: one piece a line, its id the number of the line from 0; pieces that go
  /// on with a word start with ##. Throws DataError when it cannot be read or has no [PAD], [UNK],
  /// [CLS] or [SEP].
  explicit WordPieces(const std::string& path);

  /// Ids of `words`, each cut into the longest pieces from its start on. [UNK] for a word that
  /// cannot be cut, and for one of over 100 characters.
  [[nodiscard]] std::vector<int64_t> ids(const std::vector<std::string>& words) const;

  /// One more than the largest id.
  [[nodiscard]] int64_t size() const { return size_; }
  [[nodiscard]] int64_t padding() const { return padding_; }
  [[nodiscard]] int64_t start() const { return start_; }  // [CLS]
  [[nodiscard]] int64_t end() const { return end_; }      // [SEP]

 private:
  void append(const std::string& word, std::vector<int64_t>& ids) const;

  std::unordered_map<std::string, int64_t> ids_;
  int64_t size_ = 0;
  int64_t padding_;
  int64_t unknown_;
  int64_t start_;
  int64_t end_;
};

}  // namespace unbraid
