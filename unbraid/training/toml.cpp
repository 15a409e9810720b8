#include "unbraid/training/toml.h"

#include <algorithm>
#include <limits>
#include <sstream>

#include <fmt/format.h>
#include <toml++/toml.h>

namespace unbraid {
namespace {

/// toml++ 3.3 asserts on some control characters and runs into undefined behaviour on some invalid
/// UTF-8 (found by fuzzing), so neither gets that far.
void check_bytes(const std::string& text, const std::string& name) {
  size_t line = 1;
  size_t following = 0;
  for (const char character : text) {
    const auto byte = static_cast<unsigned char>(character);
    const bool continuation = (byte & 0xc0) == 0x80;
    const bool control =
        (byte < 0x20 && byte != '\n' && byte != '\t' && byte != '\r') || byte == 0x7f;
    const bool never_utf8 = byte == 0xc0 || byte == 0xc1 || byte > 0xf4;
    if (control || never_utf8 || continuation != (following > 0)) {
      throw RecipeError(
          fmt::format("{}:{}: expected UTF-8 text, got the byte 0x{:02x}", name, line, byte));
    }
    following = continuation   ? following - 1
                : byte >= 0xf0 ? 3
                : byte >= 0xe0 ? 2
                : byte >= 0xc0 ? 1
                               : 0;
    line += character == '\n' ? 1 : 0;
  }
  if (following > 0) {
    throw RecipeError(
        fmt::format("{}:{}: expected UTF-8 text, got a cut-off character", name, line));
  }
}

class Converter {
 public:
  explicit Converter(std::string name) : name_(std::move(name)) {}

  Value convert(const toml::node& node, int depth = 0) const {
    if (depth > 16) {
      throw RecipeError(origin(node) + ": expected at most 16 levels of nesting");
    }
    if (const auto* table = node.as_table()) {
      return convert_table(*table, depth);
    }
    if (const auto* array = node.as_array()) {
      Value::List list;
      for (const toml::node& element : *array) {
        list.push_back(convert(element, depth + 1));
      }
      return {list, origin(node)};
    }
    if (const auto* boolean = node.as_boolean()) {
      return {boolean->get(), origin(node)};
    }
    if (const auto* integer = node.as_integer()) {
      return {integer->get(), origin(node)};
    }
    if (const auto* number = node.as_floating_point()) {
      return {number->get(), origin(node)};
    }
    if (const auto* text = node.as_string()) {
      return {text->get(), origin(node)};
    }
    throw RecipeError(origin(node) +
                      ": expected a number, a string, true, false, a list or a table");
  }

 private:
  [[nodiscard]] std::string origin(const toml::node& node) const {
    const auto line = node.source().begin.line;
    return line == 0 ? name_ : fmt::format("{}:{}", name_, line);
  }

  [[nodiscard]] Value convert_table(const toml::table& table, int depth) const {
    std::vector<std::pair<std::string, const toml::node*>> entries;
    for (const auto& [key, node] : table) {
      entries.emplace_back(std::string(key.str()), &node);
    }
    // toml++ sorts by key; the order of the file decides the order of the modalities.
    std::stable_sort(entries.begin(), entries.end(), [](const auto& left, const auto& right) {
      return left.second->source().begin < right.second->source().begin;
    });
    Value value = Value::table(origin(table));
    for (const auto& [key, node] : entries) {
      std::get<Value::TablePointer>(value.data)->emplace_back(key, convert(*node, depth + 1));
    }
    return value;
  }

  std::string name_;
};

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char character : text) {
    if (character == '"' || character == '\\') {
      result += '\\';
      result += character;
    } else if (static_cast<unsigned char>(character) < 0x20 || character == 0x7f) {
      result += fmt::format("\\u{:04X}", static_cast<unsigned char>(character));
    } else {
      result += character;
    }
  }
  return result + "\"";
}

std::string key_text(const std::string& key) {
  const bool bare =
      !key.empty() && std::all_of(key.begin(), key.end(), [](unsigned char character) {
        return std::isalnum(character) != 0 || character == '_' || character == '-';
      });
  return bare ? key : quoted(key);
}

std::string number_text(double number) {
  std::string text = fmt::format("{}", number);
  return text.find_first_of(".einf") == std::string::npos ? text + ".0" : text;
}

std::string inline_text(const Value& value) {
  struct Writer {
    std::string operator()(bool data) const { return data ? "true" : "false"; }
    std::string operator()(int64_t data) const { return fmt::format("{}", data); }
    std::string operator()(double data) const { return number_text(data); }
    std::string operator()(const std::string& data) const { return quoted(data); }
    std::string operator()(const Value::List& data) const {
      std::string text;
      for (const Value& element : data) {
        text += (text.empty() ? "" : ", ") + inline_text(element);
      }
      return "[" + text + "]";
    }
    std::string operator()(const Value::TablePointer& data) const {
      std::string text;
      for (const auto& [key, element] : *data) {
        text += (text.empty() ? "" : ", ") + key_text(key) + " = " + inline_text(element);
      }
      return "{ " + text + " }";
    }
  };
  return std::visit(Writer(), value.data);
}

void write_table(const Value::Table& table, const std::string& path, std::string& text) {
  for (const auto& [key, value] : table) {
    if (!std::holds_alternative<Value::TablePointer>(value.data)) {
      text += key_text(key) + " = " + inline_text(value) + "\n";
    }
  }
  for (const auto& [key, value] : table) {
    if (const auto* child = std::get_if<Value::TablePointer>(&value.data)) {
      const std::string name = path.empty() ? key_text(key) : path + "." + key_text(key);
      text += "\n[" + name + "]\n";
      write_table(**child, name, text);
    }
  }
}

}  // namespace

Value parse_toml(const std::string& text, const std::string& name) {
  check_bytes(text, name);
  try {
    return Converter(name).convert(toml::parse(text, name));
  } catch (const toml::parse_error& problem) {
    throw RecipeError(fmt::format("{}:{}: not valid TOML: {}", name, problem.source().begin.line,
                                  problem.description()));
  }
}

void apply_override(Value& root, const std::string& assignment) {
  const std::string origin = "--set " + assignment;
  const size_t equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0) {
    throw Error(ExitCode::kUsage, origin + ": expected key=value");
  }
  constexpr size_t kLongestKey = 256;
  if (equals > kLongestKey) {
    throw Error(ExitCode::kUsage, fmt::format("--set {}…: expected a key of at most {} bytes",
                                              assignment.substr(0, 40), kLongestKey));
  }
  const std::string text = assignment.substr(equals + 1);
  Value value{text, origin};
  try {
    const Value parsed = parse_toml("value = " + text, origin);
    const auto& table = *std::get<Value::TablePointer>(parsed.data);
    if (table.size() == 1) {
      value = table.front().second;
    }
  } catch (const RecipeError&) {
    constexpr size_t kDigits = 18;  // that every integer may have
    const size_t first = text.find_first_not_of("+-");
    if (first <= 1 && text[first] != '0' && text.size() - first > kDigits &&
        text.find_first_not_of("0123456789", first) == std::string::npos) {
      throw RecipeError(fmt::format("{}: expected an integer from {} to {}", origin,
                                    std::numeric_limits<int64_t>::min(),
                                    std::numeric_limits<int64_t>::max()));
    }
    // Not TOML: a bare word, which stays the string it is.
  }
  value.origin = origin;
  auto table = std::get<Value::TablePointer>(root.data);
  std::istringstream path(assignment.substr(0, equals));
  std::string key;
  std::getline(path, key, '.');
  for (std::string next; std::getline(path, next, '.'); key = next) {
    if (find(*table, key) == nullptr) {
      assign(*table, key, Value::table(origin));
    }
    const auto* child = std::get_if<Value::TablePointer>(&find(*table, key)->data);
    if (child == nullptr) {
      throw RecipeError(fmt::format("{}: expected {} to be a table", origin, key));
    }
    table = *child;
  }
  assign(*table, key, value);
}

std::string write_toml(const Value& root) {
  std::string text;
  write_table(*std::get<Value::TablePointer>(root.data), "", text);
  return text;
}

}  // namespace unbraid
