#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "unbraid/core/error.h"

namespace unbraid {

/// Records of a CSV text, strictly as of RFC 4180, in UTF-8 with or without a byte-order mark:
/// lines end with LF or CRLF, a quoted field may hold commas, line ends and doubled quotes. Blank
/// lines are left out. Every failure is a DataError "<source>:<line>: …".
class CsvReader {
 public:
  /// Refuses NUL and bytes that are not UTF-8 at once.
  CsvReader(std::string content, std::string source);

  /// Reads the next record; false at the end.
  bool next(std::vector<std::string>& fields);
  /// The line, from 1, that the last record starts on.
  [[nodiscard]] size_t line() const { return record_line_; }
  [[nodiscard]] DataError error(size_t line, const std::string& what) const;

 private:
  void check_encoding() const;
  std::string plain_field();
  std::string quoted_field();
  void append(std::string& field, char character, size_t line) const;
  [[nodiscard]] bool at_end() const { return position_ == content_.size(); }
  /// Length of the line end at the position: 2, 1, or 0 when there is none.
  [[nodiscard]] size_t line_end() const;
  bool skip_line_end();

  std::string content_;
  std::string source_;
  size_t position_ = 0;
  size_t line_ = 1;
  size_t record_line_ = 0;
};

/// Whether it has no place in a line that is shown.
bool is_control(char character);

/// `text` as a field of a record: in quotes where it must be.
std::string csv_field(const std::string& text);

}  // namespace unbraid
