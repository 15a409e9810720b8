#include "unbraid/data/csv.h"

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "unbraid/core/utf8.h"

namespace unbraid {
namespace {

constexpr size_t kMostFields = 4096;
constexpr size_t kMaxField = size_t{1} << 20;
constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

}  // namespace

CsvReader::CsvReader(std::string content, std::string source)
    : content_(std::move(content)), source_(std::move(source)) {
  check_encoding();
  if (content_.starts_with(kByteOrderMark)) {
    position_ = kByteOrderMark.size();
  }
}

DataError CsvReader::error(size_t line, const std::string& what) const {
  return DataError(fmt::format("{}:{}: {}", source_, line, what));
}

void CsvReader::check_encoding() const {
  size_t size = 0;
  for (size_t i = 0; i < content_.size(); i += size) {
    size = utf8_size(std::string_view(content_).substr(i, 4));
    if (size == 0 || content_[i] == '\0') {
      const auto line = 1 + std::count(content_.begin(), content_.begin() + i, '\n');
      throw error(line, fmt::format("expected UTF-8 text, found the byte 0x{:02x}",
                                    static_cast<unsigned char>(content_[i])));
    }
  }
}

size_t CsvReader::line_end() const {
  const std::string_view rest = std::string_view(content_).substr(position_, 2);
  return rest.starts_with('\n') ? 1 : rest == "\r\n" ? 2 : 0;
}

bool CsvReader::skip_line_end() {
  const size_t size = line_end();
  position_ += size;
  line_ += size > 0 ? 1 : 0;
  return size > 0;
}

bool CsvReader::next(std::vector<std::string>& fields) {
  fields.clear();
  while (skip_line_end()) {
  }
  if (at_end()) {
    return false;
  }
  record_line_ = line_;
  for (;;) {
    if (fields.size() == kMostFields) {
      throw error(line_, fmt::format("expected at most {} fields", kMostFields));
    }
    const bool quoted = !at_end() && content_[position_] == '"';
    fields.push_back(quoted ? quoted_field() : plain_field());
    if (at_end() || skip_line_end()) {
      return true;
    }
    if (content_[position_] != ',') {
      throw error(line_, "expected a comma or the end of the line after a closing quote");
    }
    ++position_;
  }
}

void CsvReader::append(std::string& field, char character, size_t line) const {
  if (field.size() == kMaxField) {
    throw error(line, fmt::format("expected fields of at most {} bytes, one has more", kMaxField));
  }
  field.push_back(character);
}

std::string CsvReader::plain_field() {
  std::string field;
  for (; !at_end() && content_[position_] != ',' && line_end() == 0; ++position_) {
    const char character = content_[position_];
    if (character == '"') {
      throw error(line_, "found a quote inside a field that does not start with one");
    }
    if (character == '\r') {
      throw error(line_, "found a carriage return without a line feed");
    }
    append(field, character, line_);
  }
  return field;
}

std::string CsvReader::quoted_field() {
  const size_t first_line = line_;
  std::string field;
  for (++position_; !at_end(); ++position_) {
    const char character = content_[position_];
    if (character == '"') {
      ++position_;
      if (at_end() || content_[position_] != '"') {
        return field;
      }
    }
    line_ += character == '\n' ? 1 : 0;
    append(field, character, first_line);
  }
  throw error(first_line, "a quote is opened here and never closed");
}

bool is_control(char character) {
  return static_cast<unsigned char>(character) < 0x20 || character == 0x7f;
}

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) {
    return text;
  }
  std::string quoted = "\"";
  for (const char character : text) {
    quoted += character == '"' ? "\"\"" : std::string(1, character);
  }
  return quoted + "\"";
}

}  // namespace unbraid
