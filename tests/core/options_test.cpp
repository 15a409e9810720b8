#include "unbraid/core/options.h"

#include <gtest/gtest.h>

namespace unbraid {
namespace {

Value make_table(std::vector<std::pair<std::string, Value>> entries) {
  Value value = Value::table("r.toml:1");
  *std::get<Value::TablePointer>(value.data) = std::move(entries);
  return value;
}

Value sample() {
  return make_table({
      {"flag", {true, "r.toml:2"}},
      {"count", {int64_t{3}, "r.toml:3"}},
      {"ratio", {0.5, "r.toml:4"}},
      {"name", {std::string("sgd"), "r.toml:5"}},
      {"list", {Value::List{{int64_t{1}, ""}, {int64_t{2}, ""}}, "r.toml:6"}},
      {"child", make_table({{"deep", {int64_t{7}, "r.toml:8"}}})},
  });
}

template <typename Action>
std::string message_of(const Action& action) {
  try {
    action();
  } catch (const RecipeError& error) {
    EXPECT_EQ(error.code(), ExitCode::kRecipe);
    return error.what();
  }
  return "nothing was thrown";
}

TEST(Options, ReadsEveryType) {
  Options options(sample());
  EXPECT_TRUE(options.boolean("flag"));
  EXPECT_EQ(options.integer("count"), 3);
  EXPECT_EQ(options.number("ratio"), 0.5);
  EXPECT_EQ(options.number("count"), 3.0);
  EXPECT_EQ(options.text("name"), "sgd");
  EXPECT_EQ(options.integers("list"), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(options.numbers("list"), (std::vector<double>{1, 2}));
  Options child = options.table("child");
  EXPECT_EQ(child.integer("deep"), 7);
  EXPECT_NO_THROW(child.finish());
  EXPECT_NO_THROW(options.finish());
}

TEST(Options, NamesTheEntryThatDoesNotBelong) {
  Options options(
      make_table({{"mixed", {Value::List{{std::string("a"), ""}, {int64_t{2}, ""}}, "r.toml:2"}}}));
  EXPECT_EQ(message_of([&] { options.texts("mixed"); }),
            "r.toml:2: mixed: expected a list of strings, got a list with 2");
  EXPECT_EQ(message_of([&] { options.numbers("mixed", std::vector<double>{}); }),
            "r.toml:2: mixed: expected a list of numbers, got a list with \"a\"");
}

TEST(Options, FallsBackAndNotesWhatWasUsed) {
  Options options(sample());
  EXPECT_EQ(options.integer("absent", 9), 9);
  EXPECT_EQ(options.table("nothing").number("inside", 0.25), 0.25);
  const Value resolved = options.resolved();
  const auto& table = *std::get<Value::TablePointer>(resolved.data);
  EXPECT_EQ(std::get<int64_t>(find(table, "absent")->data), 9);
  const auto& nothing = *std::get<Value::TablePointer>(find(table, "nothing")->data);
  EXPECT_EQ(std::get<double>(find(nothing, "inside")->data), 0.25);
}

TEST(Options, NamesPlaceKeyExpectedAndFound) {
  Options options(sample(), "optimizer");
  EXPECT_EQ(message_of([&] { options.integer("name"); }),
            "r.toml:5: optimizer.name: expected an integer, got \"sgd\"");
  EXPECT_EQ(message_of([&] { options.text("count"); }),
            "r.toml:3: optimizer.count: expected a string, got 3");
  EXPECT_EQ(message_of([&] { options.integer("ratio"); }),
            "r.toml:4: optimizer.ratio: expected an integer, got 0.5");
  EXPECT_EQ(message_of([&] { options.integer("missing"); }),
            "r.toml:1: optimizer.missing: expected an integer, but the key is missing");
  EXPECT_EQ(message_of([&] { options.table("count"); }),
            "r.toml:3: optimizer.count: expected a table, got 3");
  EXPECT_EQ(message_of([&] { options.texts("list"); }),
            "r.toml:6: optimizer.list: expected a list of strings, got a list with 1");
}

TEST(Options, ChecksRanges) {
  Options options(sample());
  EXPECT_EQ(message_of([&] { options.integer("count", std::nullopt, {.min = 4}); }),
            "r.toml:3: count: expected an integer of at least 4, got 3");
  EXPECT_EQ(message_of([&] { options.number("ratio", std::nullopt, {.min = 0, .max = 0.4}); }),
            "r.toml:4: ratio: expected a number of at least 0 and at most 0.4, got 0.5");
  EXPECT_EQ(
      message_of([&] { options.number("ratio", std::nullopt, {.min = 0.5, .open_min = true}); }),
      "r.toml:4: ratio: expected a number above 0.5, got 0.5");
  EXPECT_NE(message_of([&] { options.integers("list", std::nullopt, {.min = 2}); }).find("got 1"),
            std::string::npos);
}

TEST(Options, RefusesNumbersThatAreNone) {
  Options options(make_table({{"lr", {std::numeric_limits<double>::quiet_NaN(), "r.toml:2"}}}));
  EXPECT_EQ(message_of([&] { options.number("lr"); }),
            "r.toml:2: lr: expected a finite number, got nan");
}

TEST(Options, RefusesNumbersThatNoFloatHolds) {
  Options options(make_table({{"big", {1e39, "r.toml:2"}}, {"small", {1e-40, "r.toml:3"}}}));
  EXPECT_EQ(message_of([&] { options.number("big"); }),
            "r.toml:2: big: expected a number that a float can hold, got 1e+39");
  EXPECT_EQ(options.number("small"), 1e-40);
  EXPECT_EQ(
      message_of([&] { options.number("small", std::nullopt, {.min = 0, .open_min = true}); }),
      "r.toml:3: small: expected a number above 0 that a float can hold, so at least 1.18e-38, got "
      "1e-40");
}

TEST(Options, ListsChoicesAndNamesTheNearest) {
  Options options(sample());
  EXPECT_EQ(options.choice("name", {"adam", "sgd"}), "sgd");
  EXPECT_EQ(
      message_of([&] {
        options.choice("name", {"adam", "sgdm"});
      }),
      "r.toml:5: name: expected one of \"adam\", \"sgdm\", got \"sgd\"; did you mean \"sgdm\"?");
  EXPECT_EQ(message_of([&] {
              options.choice("kind", {"a", "b"});
            }),
            "r.toml:1: kind: expected one of \"a\", \"b\", but the key is missing");
}

TEST(Options, RefusesKeysNobodyAskedFor) {
  Options options(make_table({{"leraning_rate", {0.1, "r.toml:9"}}}), "optimizer");
  EXPECT_EQ(options.number("learning_rate", 1.0), 1.0);
  EXPECT_EQ(message_of([&] { options.finish(); }),
            "r.toml:9: optimizer.leraning_rate: unknown key; did you mean learning_rate?");
  Options far(make_table({{"xyzzy", {0.1, "r.toml:9"}}}));
  far.number("learning_rate", 1.0);
  EXPECT_EQ(message_of([&] { far.finish(); }), "r.toml:9: xyzzy: unknown key");
}

TEST(Options, ResolvesPathsAgainstTheRecipesFolder) {
  Options options(make_table({{"file", {std::string("../m.csv"), "/data/runs/r.toml:4"}}}));
  EXPECT_EQ(options.path("file"), "/data/m.csv");
  EXPECT_EQ(options.path("none", ""), "");
}

TEST(Nearest, IsTheSmallestEditDistanceThatIsClose) {
  EXPECT_EQ(nearest("audoi", {"image", "audio"}), "audio");
  EXPECT_EQ(nearest("q", {"image", "audio"}), "");
  EXPECT_EQ(nearest("q", {"lr", "id"}), "");
  EXPECT_EQ(nearest("gdl", {"joint", "dgl"}), "dgl");
}

}  // namespace
}  // namespace unbraid
