#include "unbraid/data/manifest.h"

#include "media/fixtures.h"

namespace unbraid {
namespace {

using testing::expect_data_error;
using testing::message_of;
using testing::TemporaryFolder;

class ManifestFile : public ::testing::Test {
 protected:
  Manifest read(const std::string& content,
                const std::vector<std::string>& modalities = {"audio"}) {
    path_ = folder_.write("m.csv", content);
    return Manifest::read(path_, modalities);
  }
  void expect_refused(const std::string& content, size_t line, const std::string& part) {
    expect_data_error([&] { read(content); }, {fmt::format("m.csv:{}: ", line), part});
  }

  TemporaryFolder folder_;
  std::string path_;
};

TEST_F(ManifestFile, ReadsRowsInOrder) {
  const Manifest manifest = read(
      "id,split,label,audio,face\na,train,0,a.wav,a.png\nb,val,happy,b.wav,\nc,test,1.5,,c.png\n",
      {"face", "audio"});
  EXPECT_EQ(manifest.path, path_);
  ASSERT_EQ(manifest.rows.size(), 3);
  EXPECT_EQ(manifest.rows[0].id, "a");
  EXPECT_EQ(manifest.rows[0].split, Split::kTrain);
  EXPECT_EQ(manifest.rows[0].label, "0");
  EXPECT_EQ(manifest.rows[0].line, 2);
  EXPECT_EQ(manifest.rows[0].cells, (std::vector<std::string>{"a.png", "a.wav"}));
  EXPECT_EQ(manifest.rows[1].split, Split::kVal);
  EXPECT_EQ(manifest.rows[1].label, "happy");
  EXPECT_EQ(manifest.rows[1].cells, (std::vector<std::string>{"", "b.wav"}));
  EXPECT_EQ(manifest.rows[2].split, Split::kTest);
  EXPECT_EQ(manifest.rows[2].cells, (std::vector<std::string>{"c.png", ""}));
}

TEST_F(ManifestFile, UnlabelledNeedsNeitherSplitNorLabel) {
  path_ = folder_.write("m.csv", "audio,id,split\na.wav,a,nonsense\n,b,\n");
  const Manifest manifest = Manifest::read_unlabelled(path_, {"audio"});
  ASSERT_EQ(manifest.rows.size(), 2);
  EXPECT_EQ(manifest.rows[0].id, "a");
  EXPECT_EQ(manifest.rows[0].split, Split::kTest);
  EXPECT_EQ(manifest.rows[0].label, "");
  EXPECT_EQ(manifest.rows[0].cells, (std::vector<std::string>{"a.wav"}));
  EXPECT_EQ(manifest.rows[1].cells, (std::vector<std::string>{""}));
  expect_data_error([&] { Manifest::read_unlabelled(path_, {"face"}); },
                    {"m.csv:1: ", "expected a column 'face'"});
}

TEST_F(ManifestFile, TakesColumnsInAnyOrderAndLeavesOthersOut) {
  const Manifest manifest = read("note,audio,label,id,split\n\"x,y\",a.wav,3,a,train\n");
  EXPECT_EQ(manifest.rows[0].id, "a");
  EXPECT_EQ(manifest.rows[0].label, "3");
  EXPECT_EQ(manifest.rows[0].cells, (std::vector<std::string>{"a.wav"}));
}

TEST_F(ManifestFile, ReadsQuotesLineEndsAndAByteOrderMark) {
  const Manifest manifest = read(
      "\xef\xbb\xbfid,split,\"label\",audio\r\n"
      "\"a \"\"1\"\", x\",train,\"two\r\nlines\",\"\"\r\n"
      "\r\n\n"
      "\xc3\xa9t\xc3\xa9,test,\xf0\x9f\x8e\xb5,b.wav");
  ASSERT_EQ(manifest.rows.size(), 2);
  EXPECT_EQ(manifest.rows[0].id, "a \"1\", x");
  EXPECT_EQ(manifest.rows[0].label, "two\r\nlines");
  EXPECT_EQ(manifest.rows[0].cells, (std::vector<std::string>{""}));
  EXPECT_EQ(manifest.rows[0].line, 2);
  EXPECT_EQ(manifest.rows[1].id, "\xc3\xa9t\xc3\xa9");
  EXPECT_EQ(manifest.rows[1].label, "\xf0\x9f\x8e\xb5");
  EXPECT_EQ(manifest.rows[1].line, 6);
}

TEST_F(ManifestFile, RefusesABadHeader) {
  expect_refused("\n\n", 1, "expected a header");
  expect_refused("id,split,label\na,train,0\n", 1, "expected a column 'audio'");
  expect_refused("id,split,audio\na,train,x\n", 1, "expected a column 'label'");
  expect_refused("id,split,label,audoi\na,train,0,x\n", 1, "is it 'audoi'?");
  expect_refused("\nid,split,label,audio,id\n", 2, "the column 'id' is there twice");
  expect_refused("id,split,label,audio\n", 1, "expected samples");
}

TEST_F(ManifestFile, RefusesBadRows) {
  const std::string start = "id,split,label,audio\na,train,0,x\n";
  expect_refused(start + "b,train,0\n", 3, "expected 4 fields as in the header, found 3");
  expect_refused(start + "b,train,0,x,y\n", 3, "found 5");
  expect_refused(start + "\nb\n", 4, "found 1");
  expect_refused(start + "b,Train,0,x\n", 3, "train, val or test, found 'Train'");
  expect_refused(start + "b,,0,x\n", 3, "train, val or test, found ''");
  expect_refused(start + ",train,0,x\n", 3, "expected an id");
  expect_refused(start + "\"b\nc\",train,0,x\n", 3, "expected an id in printable characters");
  expect_refused(start + "b,train,,x\n", 3, "expected a label");
  expect_refused(start + "b,val,0,x\n\"a\",val,0,x\n", 4, "the id 'a' is already on line 2");
}

TEST_F(ManifestFile, RefusesWhatRfc4180DoesNotAllow) {
  const std::string start = "id,split,label,audio\n";
  expect_refused(start + "a,train,0,\"x\nb,train,0,y\n", 2, "opened here and never closed");
  expect_refused(start + "a,\"two\n\nlines\",0,\"x", 4, "opened here and never closed");
  expect_refused(start + "a,train,0,\"x\" \n", 2, "after a closing quote");
  expect_refused(start + "a,train,0,\"two\nlines\"x\n", 3, "after a closing quote");
  expect_refused(start + "a,train,0,x\"y\"\n", 2, "a quote inside a field");
  expect_refused(start + "a,train,0,x\rb,train,0,y\n", 2, "carriage return");
  expect_refused(start + "a,train,0,x\r", 2, "carriage return");
}

TEST_F(ManifestFile, RefusesWhatIsNotText) {
  const std::string start = "id,split,label,audio\na,train,0,";
  expect_refused(start + std::string("x\0y\n", 4), 2, "the byte 0x00");
  // A lone continuation, overlong forms, a surrogate, beyond the last, cut off, and Latin 1.
  for (const char* bad :
       {"\x80", "\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80",
        "\xf8\x88\x80\x80\x80", "\xff", "\xc3", "\xe2\x82", "\xe9t\xe9"}) {
    expect_refused(start + bad + "\n", 2, "expected UTF-8 text");
    expect_refused(start + bad, 2, "expected UTF-8 text");
  }
  EXPECT_NO_THROW(read(start + "\xf4\x8f\xbf\xbf\xed\x9f\xbf\xee\x80\x80\xc2\x80"));
}

TEST_F(ManifestFile, RefusesAHugeField) {
  const std::string start = "id,split,label,audio\na,train,0,";
  EXPECT_EQ(read(start + std::string(1 << 20, 'x')).rows[0].cells[0].size(), 1 << 20);
  expect_refused(start + std::string((1 << 20) + 1, 'x'), 2, "at most 1048576 bytes");
  expect_refused(start + '"' + std::string((1 << 20) + 1, '\n') + '"', 2, "at most 1048576 bytes");
}

TEST_F(ManifestFile, RefusesARecordOfVeryManyFields) {
  expect_refused("id,split,label,audio\na,train,0,x" + std::string(5000, ','), 2,
                 "at most 4096 fields");
}

TEST_F(ManifestFile, RefusesWhatIsNoFile) {
  for (const std::string& path :
       {folder_.file("missing.csv"), folder_.file(""), folder_.write("empty.csv", "")}) {
    expect_data_error([&] { Manifest::read(path, {}); }, {path});
  }
}

TEST(SplitNames, GoBothWays) {
  for (const Split split : {Split::kTrain, Split::kVal, Split::kTest}) {
    EXPECT_EQ(split_named(name_of(split)), split);
  }
  EXPECT_EQ(name_of(Split::kVal), "val");
  try {
    split_named("valid");
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kUsage);
  }
}

}  // namespace
}  // namespace unbraid
