#include "unbraid/core/pickle.h"

#include <random>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "core/storage_testing.h"

namespace unbraid {
namespace {

using Kind = PickleValue::Kind;
using testing::read_text;
using testing::TemporaryFolder;

/// The value as Python would show it, with calls as name(arguments){entries}<state>.
std::string shown(const PickleValue& value) {
  const auto list = [&](size_t from, bool pairs) {
    std::string text;
    for (size_t i = from; i < value.items.size(); ++i) {
      const char* gap = i == from ? "" : pairs && (i - from) % 2 == 1 ? ": " : ", ";
      text.append(gap).append(shown(*value.items[i]));
    }
    return text;
  };
  switch (value.kind) {
    case Kind::kNone:
      return "None";
    case Kind::kBool:
      return value.integer != 0 ? "True" : "False";
    case Kind::kInt:
      return std::to_string(value.integer);
    case Kind::kFloat:
      return fmt::format("{:g}", value.real);
    case Kind::kBytes:
      return fmt::format("b'{}'", value.text);
    case Kind::kString:
      return fmt::format("'{}'", value.text);
    case Kind::kList:
      return fmt::format("[{}]", list(0, false));
    case Kind::kTuple:
      return fmt::format("({})", list(0, false));
    case Kind::kDict:
      return fmt::format("{{{}}}", list(0, true));
    case Kind::kGlobal:
      return value.global_name();
    case Kind::kPersistent:
      return fmt::format("id({})", list(0, false));
    case Kind::kCall:
      return fmt::format(
          "{}{}{}{}", value.global_name(), shown(*value.items[1]),
          value.items.size() > 3 ? fmt::format("{{{}}}", list(3, true)) : "",
          value.items[2] == nullptr ? "" : fmt::format("<{}>", shown(*value.items[2])));
  }
  return "";
}

std::string read(std::string_view content) { return shown(Pickle(content, "a.pkl").root()); }

/// What the DataError says that reading throws; "" when it throws nothing.
std::string refusal(std::string_view content) {
  try {
    const Pickle pickle(content, "a.pkl");
  } catch (const DataError& error) {
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    return error.what();
  }
  return "";
}

void expect_refused(std::string_view content, const std::string& part) {
  const std::string message = refusal(content);
  EXPECT_TRUE(message.starts_with("a.pkl: byte ")) << message;
  EXPECT_NE(message.find(part), std::string::npos) << "'" << part << "' is not in: " << message;
}

using namespace std::string_literals;

/// Files that Python wrote.
class PickleFromPython : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    ASSERT_EQ(std::system(fmt::format("/usr/bin/python3 {}/tests/core/write_pickles.py {}",
                                      UNBRAID_SOURCE_DIR, folder_->path().string())
                              .c_str()),
              0);
  }
  static void TearDownTestSuite() { delete folder_; }

  static std::string content(const std::string& name, int protocol) {
    return read_text(folder_->path() / fmt::format("{}{}.pkl", name, protocol));
  }

  static TemporaryFolder* folder_;
};

TemporaryFolder* PickleFromPython::folder_ = nullptr;

TEST_F(PickleFromPython, PlainValuesAreReadInEveryProtocol) {
  std::string many = "0";
  for (int i = 1; i < 2500; ++i) {
    many += fmt::format(", {}", i);
  }
  std::string dict = "0: None";
  for (int i = 1; i < 1200; ++i) {
    dict += fmt::format(", {}: None", i);
  }
  const std::string expected =
      "{'none': None, 'truth': [True, False], 'integers': [0, 1, 255, 256, 65535, 65536, -1, "
      "-2147483648, 2147483648, 1000000000000000000, -9223372036854775808, 9223372036854775807], "
      "'numbers': (0.5, -1e+300, inf), 'texts': ['', 'a\\b\nc\r\0', "
      "'\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80', '"s +
      std::string(300, 'x') +
      "'], 'nested': ((), (1), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], [[]], {}, {1: {2: 3}}), "
      "'shared': [['shared'], ['shared']], 'many': [" +
      many + "], 'dict': {" + dict + "}}";
  for (int protocol = 0; protocol <= 5; ++protocol) {
    const std::string bytes = content("plain", protocol);
    const Pickle pickle(bytes, "a.pkl");
    EXPECT_EQ(shown(pickle.root()), expected) << protocol;
    const auto& shared = pickle.root().find("shared")->items;
    EXPECT_EQ(shared[0], shared[1]);
    EXPECT_EQ(pickle.root().find("no"), nullptr);
    EXPECT_EQ(pickle.root().depth, 5);
  }
}

TEST_F(PickleFromPython, WeightsAreCallsWithPersistentIds) {
  for (int protocol = 0; protocol <= 5; ++protocol) {
    const std::string bytes = content("weights", protocol);
    const Pickle pickle(bytes, "a.pkl");
    const std::string tensor = fmt::format(
        "torch._utils._rebuild_tensor_v2(id({}), 0, (2, 3), (3, 1), False, "
        "collections.OrderedDict())",
        protocol == 0 ? "'name'" : "('storage', 'FloatStorage', '0', 'cpu', 6)");
    EXPECT_EQ(shown(pickle.root()),
              fmt::format("collections.OrderedDict(){{'fc.weight': {0}, 'fc.bias': {0}}}"
                          "<{{'_metadata': collections.OrderedDict(){{'': {{'version': 1}}}}}}>",
                          tensor));
    EXPECT_EQ(pickle.root().find("fc.bias")->global_name(), "torch._utils._rebuild_tensor_v2");
  }
  for (int protocol = 2; protocol <= 5; ++protocol) {
    EXPECT_EQ(read(content("new", protocol)), "__main__.New(1)");
  }
}

TEST_F(PickleFromPython, BytesAreViewsOfTheContent) {
  for (int protocol = 3; protocol <= 5; ++protocol) {
    const std::string bytes = content("bytes", protocol);
    const Pickle pickle(bytes, "a.pkl");
    std::string expected = "[b'', b'\0\xff', b'"s;
    expected.append(300, 'x').append("', b'ab']");
    EXPECT_EQ(shown(pickle.root()), expected);
    const std::string_view text = pickle.root().items[2]->text;
    EXPECT_TRUE(text.data() > bytes.data() && text.data() < bytes.data() + bytes.size());
  }
}

TEST_F(PickleFromPython, WhatItCallsIsOnlyNamed) {
  for (int protocol = 0; protocol <= 5; ++protocol) {
    EXPECT_EQ(read(content("evil", protocol)),
              fmt::format("posix.system('touch {}/ran')", folder_->path().string()));
  }
  EXPECT_FALSE(std::filesystem::exists(folder_->path() / "ran"));
}

TEST_F(PickleFromPython, CyclesAreRefused) {
  for (int protocol = 0; protocol <= 5; ++protocol) {
    expect_refused(content("cycle", protocol), "expected values without cycles, found a list of 1");
    expect_refused(content("ring", protocol), "expected values without cycles, found a dict of 1");
    expect_refused(content("pair", protocol), "POP");
  }
}

TEST_F(PickleFromPython, DepthIsBounded) {
  for (int protocol = 0; protocol <= 5; ++protocol) {
    const std::string bytes = content("deep", protocol);
    EXPECT_EQ(Pickle(bytes, "a.pkl").root().depth, 99);
    expect_refused(content("deeper", protocol), "at most 100 deep");
  }
  // Far more than a stack could hold; the last through shared values that are walked earlier.
  const size_t count = 1000000;
  expect_refused(std::string(count, ']') + std::string(count - 1, 'a') + ".", "at most 100 deep");
  std::string shared = "(]q\x01";
  for (int i = 1; i < 101; ++i) {
    shared += "]h\x01"s + "aq\x01";
  }
  expect_refused(shared + "l.", "at most 100 deep");
  // 2^90 ways through it.
  std::string laughs = "(]q\x01";
  for (int i = 0; i < 90; ++i) {
    laughs += "](h\x01h\x01"s + "eq\x01";
  }
  laughs += "l.";
  EXPECT_EQ(Pickle(laughs, "a.pkl").root().depth, 92);
}

TEST_F(PickleFromPython, EveryTruncationIsRefused) {
  for (int protocol = 0; protocol <= 5; ++protocol) {
    for (const std::string name : {"weights", "evil"}) {
      const std::string whole = content(name, protocol);
      for (size_t size = 0; size < whole.size(); ++size) {
        EXPECT_NE(refusal(std::string_view(whole).substr(0, size)), "") << name << " " << size;
      }
      expect_refused(fmt::format("{}N", whole),
                     "expected the end of the file after the value, found 1 bytes");
    }
  }
}

TEST_F(PickleFromPython, DamageIsReadOrRefused) {
  std::mt19937 random(1);
  for (int protocol = 0; protocol <= 5; ++protocol) {
    const std::string whole = content("weights", protocol);
    int refused = 0;
    for (int round = 0; round < 3000; ++round) {
      std::string damaged = whole;
      for (int flip = 0; flip <= round % 3; ++flip) {
        damaged[random() % damaged.size()] = static_cast<char>(random());
      }
      refused += refusal(damaged).empty() ? 0 : 1;
    }
    EXPECT_GT(refused, 300);
  }
}

TEST(Pickle, IntegersOfEveryLength) {
  EXPECT_EQ(read("\x8a\0."s), "0");
  EXPECT_EQ(read("\x8a\1\xff."s), "-1");
  EXPECT_EQ(read("\x8a\2\xff\0."s), "255");
  EXPECT_EQ(read("\x8b\2\0\0\0\0\x80."s), "-32768");
  EXPECT_EQ(read("J\xff\xff\xff\xff."s), "-1");
  EXPECT_EQ(read("L-12L\n."s), "-12");
  EXPECT_EQ(read("I7\n."s), "7");
  expect_refused("\x8a\x09\0\0\0\0\0\0\0\0\1."s, "an integer of at most 64 bits, found 9 bytes");
  for (const std::string text : {"", "x", "1x", "9223372036854775808", "0x1"}) {
    expect_refused(fmt::format("I{}\n.", text), "an integer of at most 64 bits");
  }
  expect_refused("F1.5.\n.", "a number");
}

TEST(Pickle, TextOfPython2IsBytes) {
  EXPECT_EQ(read("}U\1a"s + "T\2\0\0\0\xff\xfes."s), "{b'a': b'\xff\xfe'}");
  const Pickle pickle("}U\1aNs.", "a.pkl");
  EXPECT_NE(pickle.root().find("a"), nullptr);
}

TEST(Pickle, OneAfterTheOtherIsReadFromAByteOn) {
  const std::string both = "xI1\n.I2\n.";
  const Pickle first(both, "a.pkl", 1);
  EXPECT_EQ(first.root().integer, 1);
  EXPECT_EQ(first.end(), 5);
  const Pickle second(both, "a.pkl", first.end());
  EXPECT_EQ(second.root().integer, 2);
  EXPECT_EQ(second.end(), both.size());
  for (const uint64_t beyond : {second.end(), ~uint64_t{0}}) {
    EXPECT_THROW(Pickle(both, "a.pkl", beyond), DataError);
  }
}

TEST(Pickle, TheLastOfEqualKeysCounts) {
  const Pickle pickle("}(V1\nI1\nV2\nI2\nV1\nI3\nu.", "a.pkl");
  EXPECT_EQ(pickle.root().find("1")->integer, 3);
}

TEST(Pickle, EscapesOfText) {
  EXPECT_EQ(read("V\\u0041\\U0001f600\xe9\n."), "'A\xf0\x9f\x98\x80\xc3\xa9'");
  for (const std::string text :
       {"\\", "\\u", "\\u004", "\\x41", "\\u-041", "\\u 041", "\\U00110000", "\\uzzzz"}) {
    expect_refused(fmt::format("V{}\n.", text), "escapes like");
  }
}

TEST(Pickle, SizesThatTheFileDoesNotHaveAreRefused) {
  const std::string huge = "\xff\xff\xff\xff\xff\xff\xff\x7f";
  for (const std::string opcode : {"\x8e", "\x96", "\x8d"}) {
    expect_refused(opcode + huge + "abc", "expected 9223372036854775807 bytes more, found 3");
    expect_refused(opcode + std::string(8, '\xff'), "expected 18446744073709551615 bytes more");
  }
  for (const std::string opcode : {"B", "T", "X", "\x8b"}) {
    expect_refused(opcode + "\xff\xff\xff\xff", "expected 4294967295 bytes more, found 0");
  }
  expect_refused("\x95" + huge, "expected a frame of 9223372036854775807 bytes");
}

TEST(Pickle, TheNumberOfValuesIsBounded) {
  std::string many = "(Nq\1"s;
  for (uint64_t i = 0; i < kMaxPickleValues; ++i) {
    many += "h\1";
  }
  expect_refused(many + "l.", "at most 4194304 values");
  expect_refused(std::string(200, '('), "at most 100 open MARKs");
  std::string names = "N";
  for (uint64_t i = 0; i <= kMaxPickleValues; ++i) {
    names += '\x94';
  }
  expect_refused(names + ".", "at most 4194304 values");
}

TEST(Pickle, OpcodesThatAreNotNeededAreRefusedByName) {
  const std::vector<std::pair<std::string, std::string>> opcodes = {
      {"0", "POP (0x30)"},
      {"1", "POP_MARK (0x31)"},
      {"2", "DUP (0x32)"},
      {"S", "STRING (0x53)"},
      {"i", "INST (0x69)"},
      {"o", "OBJ (0x6f)"},
      {"\x82", "EXT1 (0x82)"},
      {"\x83", "EXT2 (0x83)"},
      {"\x84", "EXT4 (0x84)"},
      {"\x8f", "EMPTY_SET (0x8f)"},
      {"\x90", "ADDITEMS (0x90)"},
      {"\x91", "FROZENSET (0x91)"},
      {"\x92", "NEWOBJ_EX (0x92)"},
      {"\x97", "NEXT_BUFFER (0x97)"},
      {"\x98", "READONLY_BUFFER (0x98)"},
      {"\xff", "an unknown one (0xff)"}};
  for (const auto& [opcode, name] : opcodes) {
    expect_refused(
        "N" + opcode + ".",
        fmt::format("byte 1: expected an opcode that arrays and weights need, found {}", name));
  }
}

TEST(Pickle, ProgramsThatMakeNoSenseAreRefused) {
  const std::vector<std::pair<std::string, std::string>> programs = {
      {".", "byte 0: expected 1 values on the stack, found 0"},
      {"NN.", "byte 2: expected one value at the end, found 2"},
      {"(N.", "expected one value at the end"},
      {"t.", "a MARK before"},
      {"\x87.", "3 values on the stack, found 0"},
      {"N(\x85.", "1 values on the stack, found 0"},
      {"Nq", "expected 1 bytes more, found 0"},
      {"q\1.", "1 values on the stack"},
      {"h\1.", "a value in place 1 of the memo, found none"},
      {"g1\n.", "a value in place 1 of the memo"},
      {"g-1\n.", "a place in the memo"},
      {"NNa.", "a list to append to, found None"},
      {"NNNs.", "a dict to set items of, found None"},
      {"}(Nu.", "a value for each key"},
      {"(Nd.", "a value for each key"},
      {"cos\nsystem\nNR.", "a tuple of arguments, found None"},
      {"N)R.", "the global to call, found None"},
      {"cos\nsystem\n)R)R.", "the global to call, found the call of \"os.system\""},
      {"NNb.", "a call to give a state to, found None"},
      {"cos\nsystem\nNb.", "a call to give a state to, found the global \"os.system\""},
      {"cos\nsystem\n)RNbNb.", "one state of an object, found a second one"},
      {"NN\x93.", "the name of a global, found None"},
      {"cos\nsystem", "a line of text, found no end"},
      {"\x80\6.", "a protocol of at most 5, found 6"},
      {fmt::format("c{:a<3000}\n{:b<3000}\n.", "", ""), "a global of at most 4096 bytes"}};
  for (const auto& [program, part] : programs) {
    expect_refused(program, part);
  }
}

}  // namespace
}  // namespace unbraid
