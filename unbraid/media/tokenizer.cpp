#include "unbraid/media/tokenizer.h"

#include <unicode/locid.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>

#include <algorithm>
#include <array>
#include <sstream>
#include <string_view>

#include <fmt/format.h>

#include "unbraid/core/error.h"
#include "unbraid/core/utf8.h"
#include "unbraid/media/file.h"

namespace unbraid {
namespace {

constexpr int64_t kMaxVocabularyBytes = int64_t{256} << 20;

bool is_white(UChar32 character) {
  const int8_t type = u_charType(character);
  return character == '\t' || character == '\n' || character == '\r' || type == U_SPACE_SEPARATOR ||
         type == U_LINE_SEPARATOR || type == U_PARAGRAPH_SEPARATOR;
}

bool is_control(UChar32 character) {
  const int8_t type = u_charType(character);
  return character == 0 || character == 0xfffd || type == U_CONTROL_CHAR || type == U_FORMAT_CHAR;
}

// Every sign of ASCII that is no letter and no digit too, such as $ and ^.
bool is_punctuation(UChar32 character) {
  return (character > ' ' && character < 0x7f && u_isalnum(character) == 0) ||
         u_ispunct(character) != 0;
}

// The blocks of characters that BERT keeps apart; Hangul and the Japanese alphabets have none.
bool is_chinese(UChar32 character) {
  constexpr std::array<std::array<UChar32, 2>, 8> kBlocks = {{{0x4e00, 0x9fff},
                                                              {0x3400, 0x4dbf},
                                                              {0x20000, 0x2a6df},
                                                              {0x2a700, 0x2b73f},
                                                              {0x2b740, 0x2b81f},
                                                              {0x2b820, 0x2ceaf},
                                                              {0xf900, 0xfaff},
                                                              {0x2f800, 0x2fa1f}}};
  return std::any_of(kBlocks.begin(), kBlocks.end(), [&](const auto& block) {
    return character >= block[0] && character <= block[1];
  });
}

// Without accents: each letter is taken apart, its marks are left out.
icu::UnicodeString without_marks(const icu::UnicodeString& text) {
  UErrorCode failure = U_ZERO_ERROR;
  const icu::Normalizer2* const decomposition = icu::Normalizer2::getNFDInstance(failure);
  const icu::UnicodeString parts =
      U_FAILURE(failure) != 0 ? text : decomposition->normalize(text, failure);
  if (U_FAILURE(failure) != 0) {
    throw DataError(fmt::format("text cannot be normalised: {}", u_errorName(failure)));
  }
  icu::UnicodeString kept;
  for (int32_t at = 0; at < parts.length(); at = parts.moveIndex32(at, 1)) {
    const UChar32 character = parts.char32At(at);
    if (u_charType(character) != U_NON_SPACING_MARK) {
      kept.append(character);
    }
  }
  return kept;
}

// Code points of `text`, those of control left out.
std::vector<UChar32> characters_of(const std::string& text, bool lower) {
  check_utf8(text);
  icu::UnicodeString unicode = icu::UnicodeString::fromUTF8(text);
  if (lower) {
    unicode = without_marks(unicode.toLower(icu::Locale::getRoot()));
  }
  std::vector<UChar32> characters;
  for (int32_t at = 0; at < unicode.length(); at = unicode.moveIndex32(at, 1)) {
    const UChar32 character = unicode.char32At(at);
    if (is_white(character) || !is_control(character)) {
      characters.push_back(character);
    }
  }
  return characters;
}

}  // namespace

void check_utf8(const std::string& text) {
  size_t size = 0;
  for (size_t i = 0; i < text.size(); i += size) {
    size = utf8_size(std::string_view(text).substr(i));
    if (size == 0) {
      throw DataError(fmt::format("expected text in UTF-8, byte {} is none", i));
    }
  }
}

std::vector<std::string> split_words(const std::string& text, bool lower) {
  std::vector<std::string> words;
  bool inside = false;
  for (const UChar32 character : characters_of(text, lower)) {
    const bool alone = is_punctuation(character) || is_chinese(character);
    const bool white = is_white(character);
    if (!white) {
      if (!inside || alone) {
        words.emplace_back();
      }
      append_utf8(words.back(), static_cast<uint32_t>(character));
    }
    inside = !white && !alone;
  }
  return words;
}

std::vector<std::string> split_characters(const std::string& text, bool lower) {
  std::vector<std::string> parts;
  for (const UChar32 character : characters_of(text, lower)) {
    if (!is_white(character)) {
      parts.emplace_back();
      append_utf8(parts.back(), static_cast<uint32_t>(character));
    } else if (!parts.empty() && parts.back() != " ") {
      parts.emplace_back(" ");
    }
  }
  return parts;
}

WordPieces::WordPieces(const std::string& path) {
  std::istringstream lines(read_file(path, kMaxVocabularyBytes));
  for (std::string line; std::getline(lines, line); ++size_) {
    if (size_ == 0 && line.starts_with("\xef\xbb\xbf")) {
      line.erase(0, 3);
    }
    if (line.ends_with('\r')) {
      line.pop_back();
    }
    if (const auto [known, is_new] = ids_.emplace(line, size_); !is_new) {
      throw DataError(fmt::format("{}:{}: expected every piece once, found '{}' of line {} again",
                                  path, size_ + 1, known->first, known->second + 1));
    }
  }
  const auto special = [&](const char* piece) {
    const auto found = ids_.find(piece);
    if (found == ids_.end()) {
      throw DataError(fmt::format(
          "{}: expected a vocabulary of one piece a line with {}, found none among {} lines", path,
          piece, size_));
    }
    return found->second;
  };
  padding_ = special("[PAD]");
  unknown_ = special("[UNK]");
  start_ = special("[CLS]");
  end_ = special("[SEP]");
}

void WordPieces::append(const std::string& word, std::vector<int64_t>& ids) const {
  constexpr int32_t kMostCharacters = 100;
  const size_t before = ids.size();
  const icu::UnicodeString unicode = icu::UnicodeString::fromUTF8(word);
  size_t start = unicode.countChar32() > kMostCharacters ? std::string::npos : 0;
  while (start < word.size()) {
    const std::string prefix = start == 0 ? "" : "##";
    size_t end = word.size();
    auto found = ids_.end();
    for (; end > start; --end) {
      found = ids_.find(prefix + word.substr(start, end - start));
      if (found != ids_.end()) {
        break;
      }
    }
    if (found == ids_.end()) {
      start = std::string::npos;
      break;
    }
    ids.push_back(found->second);
    start = end;
  }
  if (start == std::string::npos) {
    ids.resize(before);
    ids.push_back(unknown_);
  }
}

std::vector<int64_t> WordPieces::ids(const std::vector<std::string>& words) const {
  std::vector<int64_t> ids;
  for (const std::string& word : words) {
    append(word, ids);
  }
  return ids;
}

}  // namespace unbraid
