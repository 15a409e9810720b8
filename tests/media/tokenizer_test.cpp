#include "unbraid/media/tokenizer.h"

#include <sstream>

#include "media/reference.h"

namespace unbraid {
namespace {

using testing::expect_data_error;
using testing::reference;
using testing::TemporaryFolder;
using Words = std::vector<std::string>;
using Ids = std::vector<int64_t>;

TEST(SplitWords, CutsAsBertDoes) {
  EXPECT_EQ(split_words("  Hello,\tWorld's  end\n", true),
            (Words{"hello", ",", "world", "'", "s", "end"}));
  EXPECT_EQ(split_words("Crème Brûlée — ÅÉ", true), (Words{"creme", "brulee", "—", "ae"}));
  EXPECT_EQ(split_words("Crème Brûlée", false), (Words{"Crème", "Brûlée"}));
  EXPECT_EQ(split_words("$5^2`x", true), (Words{"$", "5", "^", "2", "`", "x"}));
  EXPECT_EQ(split_words("茶碗 çay", true), (Words{"茶", "碗", "cay"}));
  EXPECT_EQ(split_words("a\u200b\u00adb\x01 c\u00a0d", true), (Words{"ab", "c", "d"}));
  EXPECT_EQ(split_words("a\u2028b\u2029c", true), (Words{"a", "b", "c"}));
  EXPECT_EQ(split_words(" \t ", true), Words());
}

TEST(SplitWords, RefusesWhatIsNoUtf8) {
  for (const char* text : {"a\xff", "\xc3", "\xe2\x82", "\xed\xa0\x80", "\xc0\xaf"}) {
    expect_data_error([&] { split_words(text, true); }, {"UTF-8"});
    expect_data_error([&] { split_characters(text, true); }, {"UTF-8"});
  }
}

TEST(SplitCharacters, KeepsOneBlank) {
  EXPECT_EQ(split_characters(" Äb \t 茶", true), (Words{"a", "b", " ", "茶"}));
  EXPECT_EQ(split_characters("Ä", false), (Words{"Ä"}));
}

class Vocabulary : public ::testing::Test {
 protected:
  std::string vocabulary(const std::string& pieces) {
    return folder_.write("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n" + pieces);
  }

  TemporaryFolder folder_;
};

TEST_F(Vocabulary, TakesTheLongestPieces) {
  const WordPieces pieces(vocabulary("un\nunb\n##b\n##raid\n##raided\n##a\n##s\n茶\r\n"));
  EXPECT_EQ(pieces.ids({"unbraid"}), (Ids{5, 7}));
  EXPECT_EQ(pieces.ids({"unbraided", "un"}), (Ids{5, 8, 4}));
  EXPECT_EQ(pieces.ids({"unbs", "unba", "raid", "茶"}), (Ids{5, 10, 5, 9, 1, 11}));
  EXPECT_EQ(pieces.ids({"unx"}), (Ids{1}));
  EXPECT_EQ(pieces.ids({fmt::format("un{:a>98}", "")}).size(), 99U);
  EXPECT_EQ(pieces.ids({fmt::format("un{:a>99}", "")}), (Ids{1}));
}

TEST_F(Vocabulary, EqualsAnIndependentTokenizer) {
  std::string list = "the\nquick\n##er\nfox\n##es\n.\n,\n!\n$\n—\n茶\ncafe\nCafé\nstraße\n";
  for (char letter = 'a'; letter <= 'z'; ++letter) {
    list += fmt::format("{0}\n##{0}\n", letter);
  }
  const std::string path = vocabulary(list);
  const std::string lines = fmt::format(
      "The quicker FOXES, the cafés!\n"
      "Café $5 — 茶の湯\n\n"
      "ΣΊΣΥΦΟΣ İstanbul straße ﬁn\n"
      "emoji 👩‍🍳 zero\u200bwidth soft\u00adhyphen\n"
      "a\u0301\u0323b ÅÅ\n"
      "don't-stop\tnow_or [never]\n"
      "x{:y>120}",
      "");
  const std::string text = folder_.write("text", lines);
  const WordPieces pieces(path);
  for (const bool lower : {true, false}) {
    std::vector<float> ids;
    std::istringstream stream{lines};
    for (std::string line; std::getline(stream, line);) {
      for (const int64_t id : pieces.ids(split_words(line, lower))) {
        ids.push_back(static_cast<float>(id));
      }
      ids.push_back(-1);
    }
    EXPECT_TRUE(torch::equal(torch::tensor(ids), reference(folder_, "word_pieces", text,
                                                           {path, lower ? "lower" : "as_is"})))
        << torch::tensor(ids);
  }
}

TEST_F(Vocabulary, RefusesAFileThatIsNone) {
  expect_data_error([&] { WordPieces(folder_.file("none")); }, {"none"});
  const std::string words = folder_.write("words", "[PAD]\n[UNK]\n[CLS]\nthe\n");
  expect_data_error([&] { WordPieces{words}; }, {words, "[SEP]", "4 lines"});
  const std::string twice = folder_.write("twice", "[PAD]\n[UNK]\n[CLS]\n[SEP]\nthe\na\nthe\n");
  expect_data_error([&] { WordPieces{twice}; }, {twice + ":7", "'the' of line 5"});
  const std::string empty = folder_.write("empty", "");
  expect_data_error([&] { WordPieces{empty}; }, {empty, "empty"});
}

}  // namespace
}  // namespace unbraid
