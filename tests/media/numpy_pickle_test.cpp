#include "unbraid/media/numpy_pickle.h"

#include <cmath>
#include <cstring>

#include "media/reference.h"

namespace unbraid {
namespace {

using testing::content_of;
using testing::expect_data_error;
using testing::TemporaryFolder;

class NumpyPickle : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    testing::run(fmt::format("/usr/bin/python3 {}/tests/media/write_pickles.py {}",
                             UNBRAID_SOURCE_DIR, folder_->file("")));
  }
  static void TearDownTestSuite() { delete folder_; }

  static void expect_equal_to_numpy(const std::string& bytes) {
    const Pickle pickle(bytes, "a.pkl");
    const auto& items = pickle.root().items;
    ASSERT_EQ(items.size(), 2 * 23);
    for (size_t i = 0; i < items.size(); i += 2) {
      const std::string key(items[i]->text);
      SCOPED_TRACE(key);
      const PickledArray array(pickle, *items[i + 1], key);
      std::string text = fmt::format("{}\n", fmt::join(array.shape(), " "));
      for (int64_t k = 0; k < array.size(); ++k) {
        if (array.is_numeric()) {
          float value = 0;
          array.read(k, {&value, 1});
          text += fmt::format("{:.9g}\n", value);
        } else {
          text += fmt::format("{}\n", array.text(k));
        }
      }
      EXPECT_EQ(text, content_of(folder_->file(key + ".txt")));
    }
  }

  static TemporaryFolder* folder_;
};

TemporaryFolder* NumpyPickle::folder_ = nullptr;

TEST_F(NumpyPickle, ArraysAreReadInEveryProtocol) {
  for (int protocol = 0; protocol <= 5; ++protocol) {
    SCOPED_TRACE(protocol);
    expect_equal_to_numpy(content_of(folder_->file(fmt::format("good{}.pkl", protocol))));
  }
}

TEST_F(NumpyPickle, NamesOfNumPy2AreKnown) {
  const auto renamed = [](std::string bytes, const std::string& from, const std::string& to) {
    EXPECT_NE(bytes.find(from), std::string::npos);
    for (size_t at = 0; (at = bytes.find(from, at)) != std::string::npos; at += to.size()) {
      bytes.replace(at, from.size(), to);
    }
    return bytes;
  };
  expect_equal_to_numpy(renamed(content_of(folder_->file("good2.pkl")), "cnumpy.core.multiarray\n",
                                "cnumpy._core.multiarray\n"));
  std::string bytes = content_of(folder_->file("good5.pkl"));
  bytes = renamed(bytes, "\x12numpy.core.numeric", "\x13numpy._core.numeric");
  expect_equal_to_numpy(renamed(bytes, "\x15numpy.core.multiarray", "\x16numpy._core.multiarray"));
}

TEST_F(NumpyPickle, ACopyReadsWhatItsOriginalRead) {
  for (const int protocol : {1, 4}) {  // decoded, and where it lies in the file
    const std::string bytes = content_of(folder_->file(fmt::format("good{}.pkl", protocol)));
    const Pickle pickle(bytes, "a.pkl");
    std::vector<PickledArray> arrays;
    for (const char* key : {"scalar", "f8"}) {
      arrays.emplace_back(pickle, *pickle.root().find(key), key);
    }
    float scalar = 0;
    arrays[0].read(0, {&scalar, 1});
    EXPECT_EQ(scalar, 2.5F);
    std::vector<float> values(4);
    arrays[1].read(20, values);
    EXPECT_EQ(values, (std::vector<float>{8.5, 9.5, 10.5, 11.5}));
  }
}

TEST_F(NumpyPickle, WhatIsNoArrayOfNumbersOrTextsIsRefused) {
  const std::string bytes = content_of(folder_->file("bad.pkl"));
  const Pickle pickle(bytes, "a.pkl");
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"list", "an array of NumPy, found a list of 2 at byte"},
      {"other call", "an array of NumPy, found the call of \"numpy.ones\""},
      {"no state", "an array of NumPy, found the call of \"numpy.core.multiarray._reconstruct\""},
      {"version", "state of version 1, found a tuple of 5"},
      {"state", "state of version 1, found a tuple of 2"},
      {"short", "8 bytes for the shape [2], found 7"},
      {"long", "8 bytes for the shape [2], found 9"},
      {"negative", "a shape of sizes, found the integer -1"},
      {"fraction", "a shape of sizes, found the number 2"},
      {"no shape", "a shape of at most 32 sizes, found the integer 2"},
      {"huge", "at most 2^63 bytes, found [1099511627776, 1099511627776]"},
      {"claims", "4398046511104 bytes for the shape [1099511627776], found 8"},
      {"many", "a shape of at most 32 sizes, found a tuple of 33"},
      {"complex", "real numbers of at most 8 bytes, texts or objects, found the text \"c8\""},
      {"date", "found the text \"M8\""},
      {"fields", "found the text \"V8\""},
      {"parts", "a byte order and without fields, found a tuple of 8"},
      {"no dtype", "a dtype, found the text \"f4\""},
      {"order", "a byte order and without fields"},
      {"nothing", "found the text \"U0\""},
      {"wide", "found the text \"U9999999999\""},
      {"data", "the bytes of an array, found a list of 2"},
      {"characters", "the bytes of an array, found the text"},
      {"objects", "a list of 2 objects for the shape [2], found a list of 1"},
      {"object bytes", "a list of 2 objects for the shape [2], found 8 bytes"},
      {"buffer", "order C or F, found a tuple of 3"},
      {"buffer order", "order C or F, found a tuple of 4"},
      {"buffer short", "8 bytes for the shape [2], found 3"},
      {"object", "a text as element 1, found the integer 1"},
      {"code point", "a text as element 1, found the code point 0x110000"}};
  EXPECT_EQ(pickle.root().items.size(), 2 * cases.size());
  for (const auto& [key, part] : cases) {
    SCOPED_TRACE(key);
    const PickleValue* value = pickle.root().find(key);
    ASSERT_NE(value, nullptr);
    const std::string name = key;  // clang 14 captures no bindings
    expect_data_error(
        [&] {
          const PickledArray array(pickle, *value, name);
          for (int64_t i = 0; i < array.size(); ++i) {
            static_cast<void>(array.text(i));
          }
        },
        {fmt::format("a.pkl: {}: expected ", key), part});
  }
}

}  // namespace
}  // namespace unbraid
