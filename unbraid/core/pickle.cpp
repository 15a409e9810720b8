#include "unbraid/core/pickle.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <optional>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

#include "unbraid/core/safetensors_header.h"
#include "unbraid/core/utf8.h"

namespace unbraid {
namespace {

using Kind = PickleValue::Kind;

constexpr int kNewestProtocol = 5;
constexpr size_t kLongestLine = 4096;  // of a number or a name as text
constexpr size_t kFirstEntry = 3;      // of a call

// Opcodes that Python knows, for messages; those that are read are in PickleReader::execute.
std::string_view refused_name(char opcode) {
  constexpr std::array<std::pair<char, std::string_view>, 15> kRefused = {
      {{'0', "POP"},
       {'1', "POP_MARK"},
       {'2', "DUP"},
       {'S', "STRING"},
       {'i', "INST"},
       {'o', "OBJ"},
       {'\x82', "EXT1"},
       {'\x83', "EXT2"},
       {'\x84', "EXT4"},
       {'\x8f', "EMPTY_SET"},
       {'\x90', "ADDITEMS"},
       {'\x91', "FROZENSET"},
       {'\x92', "NEWOBJ_EX"},
       {'\x97', "NEXT_BUFFER"},
       {'\x98', "READONLY_BUFFER"}}};
  for (const auto& [known, name] : kRefused) {
    if (known == opcode) {
      return name;
    }
  }
  return "an unknown one";
}

template <typename T>
std::optional<T> number_in(std::string_view text) {
  T number{};
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failure != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return number;
}

}  // namespace

/// The machine that a pickle is a program for, without its powers.
class PickleReader {
 public:
  PickleReader(std::string_view content, Pickle& pickle, uint64_t start)
      : content_(content), pickle_(pickle), position_(start) {}

  /// `alone`: nothing may follow.
  void read(bool alone) {
    while (!stopped_) {
      start_ = position_;
      execute(take(1).front());
    }
    pickle_.end_ = position_;
    if (alone && position_ != content_.size()) {
      throw error(position_, "the end of the file after the value",
                  fmt::format("{} bytes more", content_.size() - position_));
    }
    check_nesting();
  }

 private:
  [[nodiscard]] DataError error(uint64_t offset, std::string_view expected,
                                std::string_view found) const {
    return DataError(fmt::format("{}: byte {}: expected {}, found {}", pickle_.source_, offset,
                                 expected, found));
  }

  // ---- bytes ----

  std::string_view take(uint64_t count) {
    if (count > content_.size() - position_) {
      throw error(position_, fmt::format("{} bytes more", count),
                  fmt::format("{} (truncated?)", content_.size() - position_));
    }
    const std::string_view bytes = content_.substr(position_, count);
    position_ += count;
    return bytes;
  }

  /// An unsigned number of `size` bytes, the lowest first.
  uint64_t unsigned_number(size_t size) {
    uint64_t number = 0;
    size_t place = 0;
    for (const char byte : take(size)) {
      number |= static_cast<uint64_t>(static_cast<unsigned char>(byte)) << 8 * place++;
    }
    return number;
  }

  std::string_view line(uint64_t longest = kLongestLine) {
    const size_t end = content_.substr(position_, longest).find('\n');
    if (end == std::string_view::npos) {
      throw error(position_, "a line of text", "no end of it");
    }
    const std::string_view text = take(end);
    ++position_;
    return text;
  }

  template <typename T>
  T number_line(std::string_view expected, std::string_view suffix = "") {
    std::string_view text = line();
    if (text.ends_with(suffix)) {
      text.remove_suffix(suffix.size());
    }
    const std::optional<T> number = number_in<T>(text);
    if (!number) {
      throw error(start_, expected, printable(std::string(text)));
    }
    return *number;
  }

  // ---- values and the stack ----

  PickleValue& make(Kind kind) {
    if (pickle_.values_.size() == kMaxPickleValues) {
      throw too_many();
    }
    PickleValue& value = pickle_.values_.emplace_back();
    value.kind = kind;
    value.offset = start_;
    return value;
  }

  [[nodiscard]] DataError too_many() const {
    return error(start_, fmt::format("at most {} values", kMaxPickleValues), "more");
  }

  void push(PickleValue& value) {
    if (++pushed_ > kMaxPickleValues) {
      throw too_many();
    }
    stack_.push_back(&value);
  }

  void push_text(Kind kind, std::string_view text) {
    PickleValue& value = make(kind);
    value.text = text;
    push(value);
  }

  void push_int(int64_t number) {
    PickleValue& value = make(Kind::kInt);
    value.integer = number;
    push(value);
  }

  void push_bool(bool truth) {
    PickleValue& value = make(Kind::kBool);
    value.integer = truth ? 1 : 0;
    push(value);
  }

  void push_float(double number) {
    PickleValue& value = make(Kind::kFloat);
    value.real = number;
    push(value);
  }

  void push_items(Kind kind, std::vector<const PickleValue*> items) {
    PickleValue& value = make(kind);
    value.items = std::move(items);
    push(value);
  }

  [[nodiscard]] size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }

  void need(size_t count) const {
    if (stack_.size() - floor() < count) {
      throw error(start_, fmt::format("{} values on the stack", count),
                  std::to_string(stack_.size() - floor()));
    }
  }

  PickleValue& pop() {
    need(1);
    PickleValue& value = *stack_.back();
    stack_.pop_back();
    return value;
  }

  /// The value on top, which has to be of this kind.
  PickleValue& top(Kind kind, std::string_view expected) {
    need(1);
    if (!stack_.back()->is(kind)) {
      throw error(start_, expected, stack_.back()->description());
    }
    return *stack_.back();
  }

  PickleValue& pop(Kind kind, std::string_view expected) {
    top(kind, expected);
    return pop();
  }

  std::vector<const PickleValue*> pop_last(size_t count) {
    need(count);
    std::vector<const PickleValue*> values(stack_.end() - static_cast<std::ptrdiff_t>(count),
                                           stack_.end());
    stack_.resize(stack_.size() - count);
    return values;
  }

  std::vector<const PickleValue*> pop_to_mark() {
    if (marks_.empty()) {
      throw error(start_, "a MARK before", "none");
    }
    std::vector<const PickleValue*> values = pop_last(stack_.size() - marks_.back());
    marks_.pop_back();
    return values;
  }

  void mark() {
    if (marks_.size() == kMaxPickleDepth) {
      throw error(start_, fmt::format("at most {} open MARKs", kMaxPickleDepth), "more");
    }
    marks_.push_back(stack_.size());
  }

  void put(uint64_t place) {
    need(1);
    if (memo_.size() == kMaxPickleValues) {
      throw too_many();
    }
    memo_[place] = stack_.back();
  }

  void get(uint64_t place) {
    const auto known = memo_.find(place);
    if (known == memo_.end()) {
      throw error(start_, fmt::format("a value in place {} of the memo", place), "none");
    }
    push(*known->second);
  }

  void append(const std::vector<const PickleValue*>& values) {
    auto& items = top(Kind::kList, "a list to append to").items;
    items.insert(items.end(), values.begin(), values.end());
  }

  void set_items(const std::vector<const PickleValue*>& values) {
    need(1);
    PickleValue& target = *stack_.back();
    if (!target.is(Kind::kDict) && !target.is(Kind::kCall)) {
      throw error(start_, "a dict to set items of", target.description());
    }
    require_pairs(values);
    target.items.insert(target.items.end(), values.begin(), values.end());
  }

  void require_pairs(const std::vector<const PickleValue*>& values) const {
    if (values.size() % 2 != 0) {
      throw error(start_, "a value for each key", "a key without");
    }
  }

  void global() {
    PickleValue& name = pop(Kind::kString, "the name of a global");
    PickleValue& module = pop(Kind::kString, "the module of a global");
    if (name.text.size() + module.text.size() > kLongestLine) {
      throw error(start_, fmt::format("the name of a global of at most {} bytes", kLongestLine),
                  std::to_string(name.text.size() + module.text.size()));
    }
    push_items(Kind::kGlobal, {&module, &name});
  }

  void call() {
    PickleValue& arguments = pop(Kind::kTuple, "a tuple of arguments");
    PickleValue& callee = pop(Kind::kGlobal, "the global to call");
    push_items(Kind::kCall, {&callee, &arguments, nullptr});
  }

  void build() {
    PickleValue& state = pop();
    PickleValue& target = top(Kind::kCall, "a call to give a state to");
    if (target.items[2] != nullptr) {
      throw error(start_, "one state of an object", "a second one");
    }
    target.items[2] = &state;
  }

  /// Raw Unicode escapes: \u and \U with hexadecimal digits, other bytes are code points.
  std::string_view unescaped(std::string_view text) {
    bool plain = true;
    for (const char byte : text) {
      plain = plain && byte != '\\' && static_cast<unsigned char>(byte) < 0x80;
    }
    if (plain) {
      return text;
    }
    std::string decoded;
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '\\') {
        append_utf8(decoded, static_cast<unsigned char>(text[i]));
        continue;
      }
      const char kind = i + 1 < text.size() ? text[i + 1] : '\0';
      const size_t digits = kind == 'u' ? 4 : kind == 'U' ? 8 : 0;
      const std::string_view number = text.substr(std::min(i + 2, text.size()), digits);
      uint32_t code_point = 0;
      const auto [end, failure] =
          std::from_chars(number.data(), number.data() + number.size(), code_point, 16);
      if (digits == 0 || number.size() != digits || failure != std::errc() ||
          end != number.data() + digits || code_point > 0x10ffff) {
        throw error(start_, "text with escapes like \\u0041",
                    printable(std::string(text.substr(i, 10))));
      }
      append_utf8(decoded, code_point);
      i += 1 + digits;
    }
    return pickle_.texts_.emplace_back(std::move(decoded));
  }

  void long_integer(uint64_t size) {
    const std::string_view bytes = take(size);
    if (bytes.size() > sizeof(int64_t)) {
      throw error(start_, "an integer of at most 64 bits", fmt::format("{} bytes", bytes.size()));
    }
    uint64_t number = !bytes.empty() && bytes.back() < 0 ? ~uint64_t{0} : 0;
    for (size_t i = bytes.size(); i-- > 0;) {
      number = number << 8 | static_cast<unsigned char>(bytes[i]);
    }
    push_int(static_cast<int64_t>(number));
  }

  void execute(char opcode) {
    switch (opcode) {
      case '\x80':  // PROTO
        if (const uint64_t protocol = unsigned_number(1); protocol > kNewestProtocol) {
          throw error(start_, fmt::format("a protocol of at most {}", kNewestProtocol),
                      std::to_string(protocol));
        }
        break;
      case '\x95':  // FRAME: so many bytes belong together
        if (const uint64_t size = unsigned_number(8); size > content_.size() - position_) {
          throw error(start_, fmt::format("a frame of {} bytes", size),
                      fmt::format("{} (truncated?)", content_.size() - position_));
        }
        break;
      case '.':  // STOP
        stopped_ = true;
        need(1);
        if (stack_.size() != 1 || !marks_.empty()) {
          throw error(start_, "one value at the end", fmt::format("{}", stack_.size()));
        }
        pickle_.root_ = stack_.back();
        break;

      case 'N':
        push(make(Kind::kNone));
        break;
      case '\x88':
        push_bool(true);
        break;
      case '\x89':
        push_bool(false);
        break;
      case 'I':
        integer_line();
        break;
      case 'L':
        push_int(number_line<int64_t>("an integer of at most 64 bits", "L"));
        break;
      case 'J':
        push_int(static_cast<int32_t>(unsigned_number(4)));
        break;
      case 'K':
        push_int(static_cast<int64_t>(unsigned_number(1)));
        break;
      case 'M':
        push_int(static_cast<int64_t>(unsigned_number(2)));
        break;
      case '\x8a':
        long_integer(unsigned_number(1));
        break;
      case '\x8b':
        long_integer(unsigned_number(4));
        break;
      case 'F':
        push_float(number_line<double>("a number"));
        break;
      case 'G':
        push_float(std::bit_cast<double>(__builtin_bswap64(unsigned_number(8))));
        break;

      case 'C':
      case 'U':
        push_text(Kind::kBytes, take(unsigned_number(1)));
        break;
      case 'B':
      case 'T':
        push_text(Kind::kBytes, take(unsigned_number(4)));
        break;
      case '\x8e':
      case '\x96':
        push_text(Kind::kBytes, take(unsigned_number(8)));
        break;
      case 'V':
        push_text(Kind::kString, unescaped(line(content_.size())));
        break;
      case '\x8c':
        push_text(Kind::kString, take(unsigned_number(1)));
        break;
      case 'X':
        push_text(Kind::kString, take(unsigned_number(4)));
        break;
      case '\x8d':
        push_text(Kind::kString, take(unsigned_number(8)));
        break;

      case '(':
        mark();
        break;
      case ')':
        push_items(Kind::kTuple, {});
        break;
      case 't':
        push_items(Kind::kTuple, pop_to_mark());
        break;
      case '\x85':
        push_items(Kind::kTuple, pop_last(1));
        break;
      case '\x86':
        push_items(Kind::kTuple, pop_last(2));
        break;
      case '\x87':
        push_items(Kind::kTuple, pop_last(3));
        break;
      case ']':
        push_items(Kind::kList, {});
        break;
      case 'l':
        push_items(Kind::kList, pop_to_mark());
        break;
      case 'a':
        append(pop_last(1));
        break;
      case 'e':
        append(pop_to_mark());
        break;
      case '}':
        push_items(Kind::kDict, {});
        break;
      case 'd': {
        std::vector<const PickleValue*> items = pop_to_mark();
        require_pairs(items);
        push_items(Kind::kDict, std::move(items));
        break;
      }
      case 's':
        set_items(pop_last(2));
        break;
      case 'u':
        set_items(pop_to_mark());
        break;

      case 'p':
        put(number_line<uint64_t>("a place in the memo"));
        break;
      case 'q':
        put(unsigned_number(1));
        break;
      case 'r':
        put(unsigned_number(4));
        break;
      case '\x94':
        put(memo_.size());
        break;
      case 'g':
        get(number_line<uint64_t>("a place in the memo"));
        break;
      case 'h':
        get(unsigned_number(1));
        break;
      case 'j':
        get(unsigned_number(4));
        break;

      case 'c':
        push_text(Kind::kString, line());
        push_text(Kind::kString, line());
        global();
        break;
      case '\x93':
        global();
        break;
      case 'R':
      case '\x81':
        call();
        break;  // NEWOBJ calls a class
      case 'b':
        build();
        break;
      case 'P':
        push_text(Kind::kString, line());
        [[fallthrough]];
      case 'Q':
        push_items(Kind::kPersistent, pop_last(1));
        break;

      default:
        throw error(
            start_, "an opcode that arrays and weights need",
            fmt::format("{} (0x{:02x})", refused_name(opcode), static_cast<unsigned char>(opcode)));
    }
  }

  /// INT: a number, or a truth value that is written as 00 or 01.
  void integer_line() {
    const std::string_view text = content_.substr(position_, 3);
    if (text == "00\n" || text == "01\n") {
      push_bool(take(3)[1] == '1');
    } else {
      push_int(number_line<int64_t>("an integer of at most 64 bits"));
    }
  }

  /// Walks through all that the root holds, each value once, without recursion.
  void check_nesting() {
    struct Visit {
      PickleValue* value;
      size_t next;
    };
    constexpr uint32_t kOpen = ~uint32_t{0};
    std::vector<Visit> path;
    const auto enter = [&](const PickleValue* value) {
      // The arena's values are ours to mark.
      auto* const mine = const_cast<PickleValue*>(value);
      mine->depth = kOpen;
      path.push_back({mine, 0});
    };
    enter(pickle_.root_);
    while (!path.empty()) {
      auto& [value, next] = path.back();
      if (next == value->items.size()) {
        value->depth = 1;
        for (const PickleValue* item : value->items) {
          value->depth = std::max(value->depth, item == nullptr ? 0 : item->depth + 1);
        }
        if (value->depth > kMaxPickleDepth) {
          throw error(value->offset,
                      fmt::format("values at most {} deep in others", kMaxPickleDepth), "deeper");
        }
        path.pop_back();
        continue;
      }
      const PickleValue* const item = value->items[next++];
      if (item == nullptr) {
        continue;
      }
      if (item->depth == kOpen) {
        throw error(item->offset, "values without cycles",
                    fmt::format("{} that holds itself", item->description()));
      }
      if (item->depth == 0) {
        enter(item);
      }
    }
  }

  std::string_view content_;
  Pickle& pickle_;
  uint64_t position_;
  uint64_t start_ = 0;  // of the opcode
  uint64_t pushed_ = 0;
  bool stopped_ = false;
  std::vector<PickleValue*> stack_;
  std::vector<size_t> marks_;  // heights of the stack
  std::unordered_map<uint64_t, PickleValue*> memo_;
};

const PickleValue* PickleValue::find(std::string_view key) const {
  const size_t first = is(Kind::kCall) ? kFirstEntry : 0;
  if (!is(Kind::kCall) && !is(Kind::kDict)) {
    return nullptr;
  }
  // As in Python, the last of equal keys counts.
  for (size_t i = items.size(); i > first; i -= 2) {
    const PickleValue& known = *items[i - 2];
    if ((known.is(Kind::kString) || known.is(Kind::kBytes)) && known.text == key) {
      return items[i - 1];
    }
  }
  return nullptr;
}

std::string PickleValue::global_name() const {
  if (is(Kind::kCall)) {
    return items[0]->global_name();
  }
  return is(Kind::kGlobal) ? fmt::format("{}.{}", items[0]->text, items[1]->text) : "";
}

std::string PickleValue::description() const {
  switch (kind) {
    case Kind::kNone:
      return "None";
    case Kind::kBool:
      return integer != 0 ? "True" : "False";
    case Kind::kInt:
      return fmt::format("the integer {}", integer);
    case Kind::kFloat:
      return fmt::format("the number {}", real);
    case Kind::kBytes:
      return fmt::format("{} bytes", text.size());
    case Kind::kString:
      return "the text " + printable(std::string(text.substr(0, 200)));
    case Kind::kList:
      return fmt::format("a list of {}", items.size());
    case Kind::kTuple:
      return fmt::format("a tuple of {}", items.size());
    case Kind::kDict:
      return fmt::format("a dict of {}", items.size() / 2);
    case Kind::kGlobal:
      return "the global " + printable(global_name());
    case Kind::kCall:
      return "the call of " + printable(global_name());
    case Kind::kPersistent:
      return "a persistent id";
  }
  return "";
}

Pickle::Pickle(std::string_view content, std::string source) : source_(std::move(source)) {
  PickleReader(content, *this, 0).read(true);
}

Pickle::Pickle(std::string_view content, std::string source, uint64_t start)
    : source_(std::move(source)) {
  PickleReader(content, *this, std::min<uint64_t>(start, content.size())).read(false);
}

DataError Pickle::error(const PickleValue& value, std::string_view expected) const {
  return DataError(fmt::format("{}: byte {}: expected {}, found {}", source_, value.offset,
                               expected, value.description()));
}

}  // namespace unbraid
