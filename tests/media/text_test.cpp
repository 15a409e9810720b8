#include "unbraid/media/text.h"

#include "media/reference.h"

namespace unbraid {
namespace {

using testing::expect_data_error;
using testing::message_of;
using testing::options_of;
using testing::TemporaryFolder;

TextDecoder decoder(const std::vector<std::pair<std::string, decltype(Value::data)>>& entries) {
  Options options = options_of(entries);
  TextDecoder made(options);
  options.finish();
  return made;
}

std::vector<int64_t> ids(const TextDecoder& decoder, const std::string& cell) {
  const torch::Tensor decoded = decoder.transform(decoder.decode(cell), {.training = true});
  EXPECT_EQ(decoded.scalar_type(), torch::kLong);
  return {decoded.data_ptr<int64_t>(), decoded.data_ptr<int64_t>() + decoded.numel()};
}

TEST(Text, FramesAndPadsThePiecesOfAVocabulary) {
  const TemporaryFolder folder;
  const std::string path =
      folder.write("vocab.txt", "[UNK]\n[CLS]\n[SEP]\n[PAD]\napple\npie\n##s\n");
  const TextDecoder bert = decoder({{"vocab", path}, {"length", int64_t{6}}});
  EXPECT_EQ(ids(bert, "Apple pies"), (std::vector<int64_t>{1, 4, 5, 6, 2, 3}));
  EXPECT_EQ(ids(bert, "apple pie apple pie apple"), (std::vector<int64_t>{1, 4, 5, 4, 5, 2}));
  EXPECT_EQ(ids(bert, "?"), (std::vector<int64_t>{1, 0, 2, 3, 3, 3}));
  EXPECT_EQ(ids(decoder({{"vocab", path}, {"length", int64_t{4}}, {"lower", false}}), "Apple"),
            (std::vector<int64_t>{1, 0, 2, 3}));
}

TEST(Text, HashesWordsAndCharactersWithoutOne) {
  const TextDecoder words = decoder({{"length", int64_t{4}}});
  const auto apple_pie = ids(words, "Apple pie");
  EXPECT_EQ(apple_pie, ids(words, " apple\tPIE "));
  EXPECT_NE(apple_pie[0], apple_pie[1]);
  EXPECT_EQ(apple_pie[2], 0);
  EXPECT_EQ(ids(words, "pie")[0], apple_pie[1]);
  EXPECT_EQ(ids(words, "a b c d e f").size(), 4U);
  EXPECT_EQ(ids(words, " "), std::vector<int64_t>(4, 0));
  // Fixed: a trained model reads the same text later.
  EXPECT_EQ(apple_pie, (std::vector<int64_t>{18326, 27008, 0, 0}));
  const TextDecoder few = decoder(
      {{"tokens", std::string("characters")}, {"ids", int64_t{3}}, {"length", int64_t{26}}});
  for (const int64_t id : ids(few, "abcdefghijklmnopqrstuvwxyz")) {
    EXPECT_TRUE(id == 1 || id == 2) << id;
  }
}

TEST(Text, ItsEncoderHasToHoldItsIds) {
  const auto build = [](int64_t ids, int64_t vocab_size, int64_t padding) {
    Value encoder = Value::table("recipe.toml:3");
    auto& table = *std::get<Value::TablePointer>(encoder.data);
    assign(table, "type", {std::string("embedding"), "recipe.toml:3"});
    assign(table, "vocab_size", {vocab_size, "recipe.toml:3"});
    assign(table, "padding", {padding, "recipe.toml:3"});
    Options options = options_of({{"ids", ids}, {"encoder", encoder.data}});
    const TextDecoder made(options);
  };
  EXPECT_NO_THROW(build(100, 100, 0));
  EXPECT_NO_THROW(build(100, 200, 0));
  const std::string small = message_of<RecipeError>([&] { build(101, 100, 0); });
  EXPECT_NE(small.find("encoder.vocab_size: expected at least 101"), std::string::npos) << small;
  const std::string padding = message_of<RecipeError>([&] { build(100, 100, 3); });
  EXPECT_NE(padding.find("encoder.padding: expected 0"), std::string::npos) << padding;
}

TEST(Text, IsFoundToBeBadBeforeTraining) {
  EXPECT_NO_THROW(decoder({}).check("plain"));
  expect_data_error([] { decoder({}).check("\xff"); }, {"UTF-8"});
  EXPECT_EQ(decoder({}).resolve("/a/b", "/c"), "/a/b");
  EXPECT_EQ(decoder({}).cache_key("plain"), "");
  message_of<RecipeError>([] { decoder({{"length", int64_t{0}}}); });
  message_of<RecipeError>([] { decoder({{"ids", int64_t{1}}}); });
  message_of<RecipeError>([] { decoder({{"tokens", std::string("letters")}}); });
  const TemporaryFolder folder;
  const std::string path = folder.write("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n");
  message_of<RecipeError>([&] { decoder({{"vocab", path}, {"length", int64_t{2}}}); });
  for (const auto& [key, value] : std::vector<std::pair<std::string, decltype(Value::data)>>{
           {"ids", int64_t{9}}, {"tokens", std::string("words")}}) {
    const std::string message = message_of<RecipeError>([&] {
      decoder({{"vocab", path}, {key, value}});
    });
    EXPECT_NE(message.find(key + ": does not apply with vocab"), std::string::npos) << message;
  }
}

}  // namespace
}  // namespace unbraid
