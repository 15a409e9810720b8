#include "unbraid/core/options.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <numeric>
#include <type_traits>

#include <fmt/format.h>

namespace unbraid {
namespace {

std::string describe(const Value& value) {
  return std::visit(
      [](const auto& data) -> std::string {
        using T = std::decay_t<decltype(data)>;
        if constexpr (std::is_same_v<T, bool>) {
          return data ? "true" : "false";
        } else if constexpr (std::is_same_v<T, std::string>) {
          return fmt::format("\"{}\"", data);
        } else if constexpr (std::is_same_v<T, Value::List>) {
          return "a list";
        } else if constexpr (std::is_same_v<T, Value::TablePointer>) {
          return "a table";
        } else {
          return fmt::format("{}", data);
        }
      },
      value.data);
}

template <typename T>
constexpr bool kIsList =
    std::is_same_v<T, std::vector<int64_t>> || std::is_same_v<T, std::vector<double>> ||
    std::is_same_v<T, std::vector<std::string>>;

template <typename T>
std::optional<T> convert(const Value& value) {
  if constexpr (std::is_same_v<T, double>) {
    if (const auto* whole = std::get_if<int64_t>(&value.data)) {
      return static_cast<double>(*whole);
    }
  }
  if constexpr (kIsList<T>) {
    const auto* list = std::get_if<Value::List>(&value.data);
    if (list == nullptr) {
      return std::nullopt;
    }
    T converted;
    for (const Value& entry : *list) {
      const auto element = convert<typename T::value_type>(entry);
      if (!element) {
        return std::nullopt;
      }
      converted.push_back(*element);
    }
    return converted;
  } else {
    const auto* data = std::get_if<T>(&value.data);
    return data == nullptr ? std::nullopt : std::optional<T>(*data);
  }
}

/// What `value` is instead of a T; of a list, the first entry that does not belong into it.
template <typename T>
std::string describe_instead_of(const Value& value) {
  if constexpr (kIsList<T>) {
    if (const auto* list = std::get_if<Value::List>(&value.data)) {
      const auto wrong = std::find_if(list->begin(), list->end(), [](const Value& entry) {
        return !convert<typename T::value_type>(entry);
      });
      return fmt::format("a list with {}", describe(*wrong));
    }
  }
  return describe(value);
}

template <typename T>
Value to_value(const T& data) {
  if constexpr (kIsList<T>) {
    Value::List list;
    for (const auto& element : data) {
      list.push_back(to_value(element));
    }
    return {list, ""};
  } else {
    return {data, ""};
  }
}

// What is expected of `value`, which is outside of the range or no float is within.
std::string in_words(const Range& range, const char* kind, double value) {
  constexpr double kLargest = std::numeric_limits<float>::max();
  constexpr double kSmallest = std::numeric_limits<float>::min();
  std::string words = std::isfinite(value) ? kind : "a finite number";
  if (std::isfinite(range.min)) {
    words += fmt::format(" {} {}", range.open_min ? "above" : "of at least", range.min);
  }
  if (std::isfinite(range.max)) {
    words += fmt::format(" {}at most {}", std::isfinite(range.min) ? "and " : "of ", range.max);
  }
  if (std::isfinite(value) && std::abs(value) > kLargest) {
    words += " that a float can hold";
  } else if (range.open_min && range.min == 0 && value > 0 && value < kSmallest) {
    words += fmt::format(" that a float can hold, so at least {:.3g}", kSmallest);
  }
  return words;
}

// Whether `value` is within the range, also once it is rounded to a float.
bool inside(const Range& range, double value) {
  const auto rounded = static_cast<float>(value);
  return std::isfinite(value) && std::isfinite(rounded) && value <= range.max &&
         (range.open_min ? value > range.min && (range.min != 0 || std::isnormal(rounded))
                         : value >= range.min);
}

size_t edit_distance(std::string_view left, std::string_view right) {
  std::vector<size_t> row(right.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 0; i < left.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < right.size(); ++j) {
      const size_t substituted = diagonal + (left[i] == right[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({substituted, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

}  // namespace

Value Value::table(std::string origin) { return {std::make_shared<Table>(), std::move(origin)}; }

const Value* find(const Value::Table& table, std::string_view key) {
  const auto entry = std::find_if(table.begin(), table.end(),
                                  [key](const auto& candidate) { return candidate.first == key; });
  return entry == table.end() ? nullptr : &entry->second;
}

void assign(Value::Table& table, const std::string& key, Value value) {
  if (const Value* present = find(table, key)) {
    const_cast<Value&>(*present) = std::move(value);
  } else {
    table.emplace_back(key, std::move(value));
  }
}

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
  std::string best;
  // Two changes or a third of the word, but never all of it; the bound itself is excluded.
  size_t best_distance = std::min(word.size(), std::max<size_t>(2, word.size() / 3) + 1);
  for (const std::string& candidate : candidates) {
    const size_t distance = edit_distance(word, candidate);
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

Options::Options(const Value& table, std::string path)
    : Options(std::get<Value::TablePointer>(table.data), table.origin, std::move(path),
              std::make_shared<Value::Table>()) {}

Options::Options(Value::TablePointer given, std::string origin, std::string path,
                 Value::TablePointer resolved)
    : given_(std::move(given)),
      origin_(std::move(origin)),
      path_(std::move(path)),
      resolved_(std::move(resolved)),
      known_(std::make_shared<std::set<std::string>>()) {}

std::string Options::full_name(const std::string& key) const {
  return path_.empty() ? key : path_ + "." + key;
}

RecipeError Options::error(const std::string& key, const std::string& what) const {
  const Value* value = find(*given_, key);
  const std::string& origin = value != nullptr ? value->origin : origin_;
  return RecipeError(
      fmt::format("{}{}{}: {}", origin, origin.empty() ? "" : ": ", full_name(key), what));
}

RecipeError Options::missing(const std::string& key, const std::string& expected) const {
  return error(key, fmt::format("expected {}, but the key is missing", expected));
}

const Value* Options::lookup(const std::string& key) {
  known_->insert(key);
  return find(*given_, key);
}

template <typename T>
std::optional<T> Options::get(const std::string& key, const std::optional<T>& fallback,
                              const char* expected) {
  std::optional<T> result = fallback;
  if (const Value* value = lookup(key)) {
    result = convert<T>(*value);
    if (!result) {
      throw error(key,
                  fmt::format("expected {}, got {}", expected, describe_instead_of<T>(*value)));
    }
  }
  if (!result) {
    throw missing(key, expected);
  }
  assign(*resolved_, key, to_value(*result));
  return result;
}

bool Options::boolean(const std::string& key, std::optional<bool> fallback) {
  return *get(key, fallback, "true or false");
}

int64_t Options::integer(const std::string& key, std::optional<int64_t> fallback, Range range) {
  const int64_t value = *get(key, fallback, "an integer");
  if (!inside(range, static_cast<double>(value))) {
    throw error(key, fmt::format("expected {}, got {}",
                                 in_words(range, "an integer", static_cast<double>(value)), value));
  }
  return value;
}

double Options::number(const std::string& key, std::optional<double> fallback, Range range) {
  const double value = *get(key, fallback, "a number");
  if (!inside(range, value)) {
    throw error(key, fmt::format("expected {}, got {}", in_words(range, "a number", value), value));
  }
  return value;
}

std::string Options::text(const std::string& key, const std::optional<std::string>& fallback) {
  return *get(key, fallback, "a string");
}

std::string Options::choice(const std::string& key, const std::vector<std::string>& allowed,
                            const std::optional<std::string>& fallback) {
  std::string list;
  for (const std::string& name : allowed) {
    list += (list.empty() ? "\"" : ", \"") + name + "\"";
  }
  const std::string expected = allowed.size() == 1 ? list : "one of " + list;
  if (!has(key) && !fallback) {
    lookup(key);
    throw missing(key, expected);
  }
  std::string value = text(key, fallback);
  if (std::find(allowed.begin(), allowed.end(), value) == allowed.end()) {
    const std::string close = nearest(value, allowed);
    throw error(key,
                fmt::format("expected {}, got \"{}\"{}", expected, value,
                            close.empty() ? "" : fmt::format("; did you mean \"{}\"?", close)));
  }
  return value;
}

std::vector<int64_t> Options::integers(const std::string& key,
                                       const std::optional<std::vector<int64_t>>& fallback,
                                       Range range) {
  auto values = *get(key, fallback, "a list of integers");
  for (const int64_t value : values) {
    if (!inside(range, static_cast<double>(value))) {
      throw error(key,
                  fmt::format("expected a list whose every entry is {}, got {}",
                              in_words(range, "an integer", static_cast<double>(value)), value));
    }
  }
  return values;
}

std::vector<double> Options::numbers(const std::string& key,
                                     const std::optional<std::vector<double>>& fallback,
                                     Range range) {
  auto values = *get(key, fallback, "a list of numbers");
  for (const double value : values) {
    if (!inside(range, value)) {
      throw error(key, fmt::format("expected a list whose every entry is {}, got {}",
                                   in_words(range, "a number", value), value));
    }
  }
  return values;
}

std::vector<std::string> Options::texts(const std::string& key) {
  return *get<std::vector<std::string>>(key, std::nullopt, "a list of strings");
}

Options Options::table(const std::string& key) {
  auto given = std::make_shared<Value::Table>();
  std::string origin = origin_;
  if (const Value* value = lookup(key)) {
    const auto* table = std::get_if<Value::TablePointer>(&value->data);
    if (table == nullptr) {
      throw error(key, fmt::format("expected a table, got {}", describe(*value)));
    }
    given = *table;
    origin = value->origin;
  }
  Value resolved = Value::table();
  auto pointer = std::get<Value::TablePointer>(resolved.data);
  assign(*resolved_, key, std::move(resolved));
  return {given, origin, full_name(key), pointer};
}

std::string Options::path(const std::string& key, const std::optional<std::string>& fallback) {
  std::string given = text(key, fallback);
  if (given.empty()) {
    return given;
  }
  std::filesystem::path folder = ".";
  const Value* value = find(*given_, key);
  if (value != nullptr && !value->origin.empty() && !value->origin.starts_with("--")) {
    folder = std::filesystem::path(value->origin.substr(0, value->origin.rfind(':'))).parent_path();
  }
  std::string absolute = std::filesystem::absolute(folder / given).lexically_normal().string();
  assign(*resolved_, key, to_value(absolute));
  return absolute;
}

bool Options::has(const std::string& key) const { return find(*given_, key) != nullptr; }

bool Options::is_integer(const std::string& key) const {
  const Value* value = find(*given_, key);
  return value != nullptr && std::holds_alternative<int64_t>(value->data);
}

bool Options::is_list(const std::string& key) const {
  const Value* value = find(*given_, key);
  return value != nullptr && std::holds_alternative<Value::List>(value->data);
}

std::vector<std::string> Options::keys() const {
  std::vector<std::string> names;
  for (const auto& entry : *given_) {
    names.push_back(entry.first);
  }
  return names;
}

void Options::finish() const {
  const std::vector<std::string> known(known_->begin(), known_->end());
  for (const auto& [key, value] : *given_) {
    if (!known_->contains(key)) {
      const std::string close = nearest(key, known);
      throw error(key, close.empty() ? "unknown key" : "unknown key; did you mean " + close + "?");
    }
  }
}

Value Options::resolved() const { return {resolved_, ""}; }

}  // namespace unbraid
