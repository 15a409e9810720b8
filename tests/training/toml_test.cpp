#include "unbraid/training/toml.h"

#include <gtest/gtest.h>

namespace unbraid {
namespace {

const Value::Table& entries(const Value& value) {
  return *std::get<Value::TablePointer>(value.data);
}

template <typename Action>
std::string message_of(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(ParseToml, KeepsTheOrderOfTheFileAndTheLines) {
  const Value root =
      parse_toml("z = 1\n[m.visual]\nk = \"v\"\n[m.audio]\n[a]\nx = [1, 2.5]\n", "r.toml");
  ASSERT_EQ(entries(root).size(), 3);
  EXPECT_EQ(entries(root)[0].first, "z");
  EXPECT_EQ(entries(root)[0].second.origin, "r.toml:1");
  EXPECT_EQ(entries(root)[1].first, "m");
  const auto& modalities = entries(entries(root)[1].second);
  EXPECT_EQ(modalities[0].first, "visual");
  EXPECT_EQ(modalities[1].first, "audio");
  EXPECT_EQ(find(entries(modalities[0].second), "k")->origin, "r.toml:3");
}

TEST(ParseToml, RefusesWhatIsNotTomlWithItsLine) {
  EXPECT_NE(
      message_of([] { parse_toml("a = 1\nb = = 2\n", "r.toml"); }).find("r.toml:2: not valid TOML"),
      std::string::npos);
  EXPECT_NE(message_of([] { parse_toml("a = 1\na = 2\n", "r.toml"); }).find("r.toml:2"),
            std::string::npos);
  EXPECT_NE(message_of([] {
              parse_toml("d = 2020-01-01\n", "r.toml");
            }).find("r.toml:1: expected a number"),
            std::string::npos);
}

TEST(ParseToml, RefusesBytesThatAreNoToml) {
  // The first two crash toml++ 3.3.
  for (const std::string& text : std::vector<std::string>{
           "\n[\x0e", "\xd2\x83", "a\xff", "a = \"\xe2\x82\"", std::string(1, '\0'), "a = 1\x7f",
           "\xc0\xaf", "\xf5\x80\x80\x80"}) {
    EXPECT_TRUE(message_of([&] { parse_toml(text, "r.toml"); }).starts_with("r.toml:")) << text;
  }
  EXPECT_EQ(message_of([] { parse_toml("a = 1\n[\x0e", "r.toml"); }),
            "r.toml:2: expected UTF-8 text, got the byte 0x0e");
  EXPECT_EQ(message_of([] { parse_toml("a = \"\xe2\x82", "r.toml"); }),
            "r.toml:1: expected UTF-8 text, got a cut-off character");
  EXPECT_NO_THROW(parse_toml("a = \"é ± 漢 🙂\"\n", "r.toml"));
}

TEST(ParseToml, BoundsItsNesting) {
  const std::string deep = "a = " + std::string(40, '[') + std::string(40, ']');
  EXPECT_NE(message_of([&] { parse_toml(deep, "r.toml"); }).find("nesting"), std::string::npos);
}

TEST(ApplyOverride, SetsTypedValuesAndBareWords) {
  Value root = parse_toml("[train]\nepochs = 3\n", "r.toml");
  apply_override(root, "train.epochs=7");
  apply_override(root, "method.type=joint");
  apply_override(root, "optimizer.betas=[0.8, 0.9]");
  apply_override(root, "note=a = b");
  apply_override(root, "method={ type = \"dgl\" }");
  const auto at = [&](const char* table, const char* key) {
    return find(entries(*find(entries(root), table)), key);
  };
  EXPECT_EQ(std::get<int64_t>(at("train", "epochs")->data), 7);
  EXPECT_EQ(at("train", "epochs")->origin, "--set train.epochs=7");
  EXPECT_EQ(std::get<std::string>(at("method", "type")->data), "dgl");
  EXPECT_EQ(std::get<Value::List>(at("optimizer", "betas")->data).size(), 2);
  EXPECT_EQ(std::get<std::string>(find(entries(root), "note")->data), "a = b");
}

TEST(ApplyOverride, RefusesWhatCannotBeSet) {
  Value root = parse_toml("seed = 1\n", "r.toml");
  EXPECT_EQ(message_of([&] { apply_override(root, "seed"); }), "--set seed: expected key=value");
  EXPECT_EQ(message_of([&] { apply_override(root, "=3"); }), "--set =3: expected key=value");
  for (const std::string number : {"99999999999999999999", "-9223372036854775809"}) {
    EXPECT_EQ(message_of([&] { apply_override(root, "seed=" + number); }),
              "--set seed=" + number +
                  ": expected an integer from -9223372036854775808 to 9223372036854775807");
  }
  EXPECT_EQ(message_of([&] { apply_override(root, "seed.deep=3"); }),
            "--set seed.deep=3: expected seed to be a table");
}

TEST(WriteToml, IsReadBackToTheSameValues) {
  const std::string text =
      "a = 0.1\nb = 1e-300\nc = 3.0\nd = -7\ne = \"q\\\"\\\\\\n é\"\nf = [1.5, 2.0]\ng = true\nh = "
      "inf\n"
      "[t]\nx = 1\n[t.\"odd key\"]\ny = [\"p\", \"q\"]\n";
  const std::string once = write_toml(parse_toml(text, "r.toml"));
  EXPECT_EQ(write_toml(parse_toml(once, "again.toml")), once);
  const Value back = parse_toml(once, "again.toml");
  EXPECT_EQ(std::get<double>(find(entries(back), "a")->data), 0.1);
  EXPECT_EQ(std::get<double>(find(entries(back), "b")->data), 1e-300);
  EXPECT_EQ(std::get<double>(find(entries(back), "c")->data), 3.0);
  EXPECT_EQ(std::get<int64_t>(find(entries(back), "d")->data), -7);
  EXPECT_EQ(std::get<std::string>(find(entries(back), "e")->data), "q\"\\\n é");
}

}  // namespace
}  // namespace unbraid
