#include "unbraid/training/json_file.h"

#include <cmath>

#include <gtest/gtest.h>

#include "temporary_folder.h"

namespace unbraid {
namespace {

using nlohmann::json;
using testing::TemporaryFolder;
using testing::write_text;

template <typename Run>
std::string error_of(const Run& run) {
  try {
    run();
  } catch (const StorageError& error) {
    return error.what();
  }
  return "no StorageError was thrown";
}

TEST(JsonFile, HoldsOneObject) {
  const TemporaryFolder folder;
  const auto path = folder / "a.json";
  write_text(path, "{\"a\": 1}\n");
  EXPECT_EQ(read_json_object(path), json({{"a", 1}}));
  write_text(path, "{\"a\": 1");
  EXPECT_EQ(error_of([&] { read_json_object(path); }),
            path.string() + ": expected a JSON object, which it is no more at byte 8");
  write_text(path, "[1, 2]");
  EXPECT_EQ(error_of([&] { read_json_object(path); }),
            path.string() + ": expected a JSON object, found [1,2]");
  write_text(path, "{\"a\": 1e400}");
  EXPECT_EQ(error_of([&] { read_json_object(path); }),
            path.string() + ": expected a JSON object, found one with a number that is too large");
  EXPECT_NE(error_of([&] { read_json_object(folder / "none"); }).find("none"), std::string::npos);
}

TEST(JsonFile, LinesAreObjects) {
  const TemporaryFolder folder;
  const auto path = folder / "lines.jsonl";
  write_text(path, "{\"a\":1}\n{\"a\":2}\n{\"a\"");
  EXPECT_EQ(whole_json_lines(path), (std::vector<json>{{{"a", 1}}, {{"a", 2}}}));
  std::string places;
  EXPECT_EQ(error_of([&] {
              for_each_json_line(path, [&](const json& line, const std::string& place) {
                places += place.substr(place.rfind('/') + 1) + "=" + line["a"].dump() + " ";
              });
            }),
            path.string() + ":3: expected a JSON object, which it is no more at byte 5");
  EXPECT_EQ(places, "lines.jsonl:1=1 lines.jsonl:2=2 ");
}

TEST(JsonFile, ValuesAreOfTheirKind) {
  const json object = json::parse(
      R"({"number": 0.5, "nan": null, "count": 3, "text": "t", "inner": {"x": "high"}})");
  const JsonFields fields(object, "s.json");
  EXPECT_EQ(fields.number("number"), 0.5);
  EXPECT_TRUE(std::isnan(fields.number("nan")));
  EXPECT_EQ(fields.count("count"), 3);
  EXPECT_EQ(fields.text("text"), "t");
  EXPECT_TRUE(fields.object("nothing").empty());
  EXPECT_FALSE(fields.has("nothing"));
  EXPECT_EQ(error_of([&] { static_cast<void>(fields.number("text")); }),
            "s.json: expected a number as text, found \"t\"");
  EXPECT_EQ(error_of([&] { static_cast<void>(fields.number("nothing")); }),
            "s.json: expected a number as nothing, found nothing");
  EXPECT_EQ(error_of([&] { static_cast<void>(fields.inside("inner").number("x")); }),
            "s.json: inner: expected a number as x, found \"high\"");
  EXPECT_NE(error_of([&] { static_cast<void>(fields.count("number")); }).find("found 0.5"),
            std::string::npos);
  EXPECT_NE(error_of([&] { static_cast<void>(fields.object("text")); }).find("an object"),
            std::string::npos);
  const json negative{{"count", -1}};
  EXPECT_NE(error_of([&] {
              static_cast<void>(JsonFields(negative, "s").count("count"));
            }).find("found -1"),
            std::string::npos);
  const json endless{{"text", std::string(1000, 'x')}};
  EXPECT_LT(error_of([&] { static_cast<void>(JsonFields(endless, "s").number("text")); }).size(),
            120);
}

}  // namespace
}  // namespace unbraid
