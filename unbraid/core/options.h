#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "unbraid/core/error.h"

namespace unbraid {

/// A value of a recipe and the place it was given at.
struct Value {
  using List = std::vector<Value>;
  /// In the order of the file. Shared, so that a handle to a table stays good while its parent
  /// grows.
  using Table = std::vector<std::pair<std::string, Value>>;
  using TablePointer = std::shared_ptr<Table>;

  std::variant<bool, int64_t, double, std::string, List, TablePointer> data;
  std::string origin;  // "recipe.toml:12" or "--set train.epochs=3"; empty for a default

  /// An empty table.
  static Value table(std::string origin = "");
};

/// The value under `key`, or null.
const Value* find(const Value::Table& table, std::string_view key);
/// Replaces or appends.
void assign(Value::Table& table, const std::string& key, Value value);

/// The numbers that a key allows.
struct Range {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  bool open_min = false;  // the minimum itself is excluded
};

/// A strict view of one table of a recipe. Every getter checks type and range, and notes the key as
/// known and the value in a resolved copy; `finish` then refuses what nobody asked for. All
/// failures are a RecipeError that names the place, the key, what was expected and what was found.
class Options {
 public:
  /// `path` is the dotted name of the table, empty for the root.
  explicit Options(const Value& table, std::string path = "");

  // Without a fallback the key is required.
  bool boolean(const std::string& key, std::optional<bool> fallback = std::nullopt);
  int64_t integer(const std::string& key, std::optional<int64_t> fallback = std::nullopt,
                  Range range = Range());
  double number(const std::string& key, std::optional<double> fallback = std::nullopt,
                Range range = Range());
  std::string text(const std::string& key,
                   const std::optional<std::string>& fallback = std::nullopt);
  /// One of `allowed`; the error lists them and names the nearest.
  std::string choice(const std::string& key, const std::vector<std::string>& allowed,
                     const std::optional<std::string>& fallback = std::nullopt);
  std::vector<int64_t> integers(const std::string& key,
                                const std::optional<std::vector<int64_t>>& fallback = std::nullopt,
                                Range range = Range());
  std::vector<double> numbers(const std::string& key,
                              const std::optional<std::vector<double>>& fallback = std::nullopt,
                              Range range = Range());
  std::vector<std::string> texts(const std::string& key);
  /// The table under `key`; an absent one reads as empty.
  Options table(const std::string& key);
  /// Path of a file, made absolute against the folder of the recipe it was given in; "" stays "".
  std::string path(const std::string& key,
                   const std::optional<std::string>& fallback = std::nullopt);

  [[nodiscard]] bool has(const std::string& key) const;
  [[nodiscard]] bool is_integer(const std::string& key) const;
  [[nodiscard]] bool is_list(const std::string& key) const;
  /// Names of the keys given, in the order of the file.
  [[nodiscard]] std::vector<std::string> keys() const;
  /// Throws when a key was given that no getter asked for, naming the nearest known one.
  void finish() const;

  /// An error at `key`: "recipe.toml:12: train.epochs: <what>".
  [[nodiscard]] RecipeError error(const std::string& key, const std::string& what) const;
  [[nodiscard]] const std::string& name() const { return path_; }
  /// This table with every default written out.
  [[nodiscard]] Value resolved() const;

 private:
  Options(Value::TablePointer given, std::string origin, std::string path,
          Value::TablePointer resolved);

  template <typename T>
  std::optional<T> get(const std::string& key, const std::optional<T>& fallback,
                       const char* expected);
  const Value* lookup(const std::string& key);
  [[nodiscard]] RecipeError missing(const std::string& key, const std::string& expected) const;
  [[nodiscard]] std::string full_name(const std::string& key) const;

  Value::TablePointer given_;
  std::string origin_;
  std::string path_;
  Value::TablePointer resolved_;
  std::shared_ptr<std::set<std::string>> known_;
};

/// The row of a table of named implementations that `key` names.
template <typename Table>
const typename Table::value_type& choose(Options& options, const Table& table,
                                         const std::string& key = "type") {
  std::vector<std::string> types;
  types.reserve(table.size());
  for (const auto& row : table) {
    types.emplace_back(row.type);
  }
  const std::string type = options.choice(key, types);
  return table[static_cast<size_t>(std::find(types.begin(), types.end(), type) - types.begin())];
}

/// The candidate with the smallest edit distance to `word`, or "" when none is close.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace unbraid
