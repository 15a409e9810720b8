#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "unbraid/core/error.h"

namespace unbraid {

/// One value of a pickle. Values that the file refers to twice are shared: they make a graph
/// without cycles, which may have exponentially many paths.
struct PickleValue {
  enum class Kind : uint8_t {
    kNone,
    kBool,
    kInt,
    kFloat,
    kBytes,   // a bytearray too, and a str of Python 2
    kString,  // UTF-8 as the file has it
    kList,    // items
    kTuple,   // items
    kDict,    // items: key, value, key, value, …
    kGlobal,  // items: module and name, strings
    kCall,    // items: the global, its arguments (a tuple), the state (or null), key, value, …
    kPersistent,  // items: the persistent id
  };
  Kind kind = Kind::kNone;
  uint32_t depth = 0;     // of what it holds: 1 for what holds nothing
  uint64_t offset = 0;    // of the opcode that made it
  int64_t integer = 0;    // of kBool and kInt
  double real = 0;        // of kFloat
  std::string_view text;  // of kBytes and kString
  std::vector<const PickleValue*> items;

  [[nodiscard]] bool is(Kind wanted) const { return kind == wanted; }
  /// The value of a key, a string or bytes, of a dict, or of a call that has entries; null when
  /// there is none.
  [[nodiscard]] const PickleValue* find(std::string_view key) const;
  /// "module.name" of a global, or of the global that a call calls; "" for others.
  [[nodiscard]] std::string global_name() const;
  /// What it is, for a message: "a list of 3", "the call of os.system".
  [[nodiscard]] std::string description() const;
};

/// Reads pickles of protocols 0 to 5 as far as NumPy and PyTorch write them. Nothing is imported,
/// looked up or run: a global is its name, a call is its name and its arguments. What neither of
/// them writes is refused, and so are cycles, values nested more than kMaxPickleDepth deep and more
/// than kMaxPickleValues of them. Every failure is a DataError with the source and the offset.
/// Besides the content it takes under 200 bytes a byte of it, and under 1 GiB.
class Pickle {
 public:
  /// Reads the one pickle that `content` holds, which must outlive this.
  Pickle(std::string_view content, std::string source);
  /// Reads the pickle that starts at byte `start` of a content that may go on after it, at end().
  Pickle(std::string_view content, std::string source, uint64_t start);

  [[nodiscard]] const PickleValue& root() const { return *root_; }
  [[nodiscard]] const std::string& source() const { return source_; }
  [[nodiscard]] uint64_t end() const { return end_; }
  /// "<source>: byte <offset>: expected …, found …".
  [[nodiscard]] DataError error(const PickleValue& value, std::string_view expected) const;

 private:
  friend class PickleReader;

  std::string source_;
  std::deque<PickleValue> values_;
  std::deque<std::string> texts_;  // that the content holds escaped
  const PickleValue* root_ = nullptr;
  uint64_t end_ = 0;
};

inline constexpr uint32_t kMaxPickleDepth = 100;
inline constexpr uint64_t kMaxPickleValues = uint64_t{1} << 22;

}  // namespace unbraid
