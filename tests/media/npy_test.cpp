#include "unbraid/media/npy.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "media/fixtures.h"

namespace unbraid {
namespace {

using testing::expect_data_error;

// The file that np.save would write, its header padded to 64 bytes.
std::string npy(const std::string& dictionary, const std::string& data, int version = 1) {
  const size_t start = version == 1 ? 10 : 12;
  std::string text = dictionary;
  text.resize((start + text.size() + 64) / 64 * 64 - start - 1, ' ');
  text += '\n';
  std::string length;
  for (size_t i = 0; i < start - 8; ++i) {
    length += static_cast<char>(text.size() >> 8 * i);
  }
  return std::string("\x93NUMPY") + static_cast<char>(version) + '\0' + length + text + data;
}

std::string header(const std::string& type, const std::string& shape, bool fortran = false) {
  return fmt::format("{{'descr': '{}', 'fortran_order': {}, 'shape': {}, }}", type,
                     fortran ? "True" : "False", shape);
}

template <typename T>
std::string bytes_of(const std::vector<T>& values, bool big_endian = false) {
  std::string bytes;
  for (const T value : values) {
    std::string one(sizeof(T), '\0');
    std::memcpy(one.data(), &value, sizeof(T));
    bytes += big_endian ? std::string(one.rbegin(), one.rend()) : one;
  }
  return bytes;
}

std::vector<float> read(const std::string& content) {
  const NpyArray array(content, "a.npy");
  std::vector<float> values(array.size());
  array.read(0, values);
  return values;
}

template <typename T>
void expect_type(const std::string& type, const std::vector<T>& values) {
  const std::vector<float> expected(values.begin(), values.end());
  const std::string shape = fmt::format("({},)", values.size());
  EXPECT_EQ(read(npy(header((sizeof(T) == 1 ? "|" : "<") + type, shape), bytes_of(values))),
            expected)
      << type;
  EXPECT_EQ(read(npy(header(">" + type, shape), bytes_of(values, true))), expected) << type;
}

TEST(Npy, ReadsEveryTypeInBothByteOrders) {
  expect_type<int8_t>("i1", {-128, 0, 127});
  expect_type<uint8_t>("u1", {0, 255});
  expect_type<int16_t>("i2", {-32768, 258});
  expect_type<uint16_t>("u2", {65535, 258});
  expect_type<int32_t>("i4", {-2147483647, 16909060});
  expect_type<uint32_t>("u4", {4294967295, 1});
  expect_type<int64_t>("i8", {-9000000000000000000, 72057594037927936});
  expect_type<uint64_t>("u8", {18000000000000000000ULL, 3});
  expect_type<float>("f4", {-0.5F, 3.25e10F, 1e-40F});
  expect_type<double>("f8", {0.1, -1e30});
  EXPECT_EQ(read(npy(header("|b1", "(3,)"), std::string("\0\1\2", 3))),
            (std::vector<float>{0, 1, 1}));
}

TEST(Npy, ReadsHalfPrecision) {
  // 1, -2, the largest, the smallest normal, the smallest of all, 0.333…
  const std::vector<uint16_t> bits = {0x3c00, 0xc000, 0x7bff, 0x0400, 0x0001, 0x3555, 0x8000};
  EXPECT_EQ(read(npy(header("<f2", "(7,)"), bytes_of(bits))),
            (std::vector<float>{1, -2, 65504, std::ldexp(1.0F, -14), std::ldexp(1.0F, -24),
                                0.333251953125F, -0.0F}));
}

TEST(Npy, ReadsEveryVersion) {
  for (const int version : {1, 2, 3}) {
    EXPECT_EQ(read(npy(header("<f4", "(2,)"), bytes_of<float>({1, 2}), version)),
              (std::vector<float>{1, 2}));
  }
}

TEST(Npy, ReadsShapesInBothOrders) {
  const std::string data = bytes_of<int16_t>({0, 1, 2, 3, 4, 5});
  const NpyArray rows(npy(header("<i2", "(2, 3)"), data), "a.npy");
  EXPECT_EQ(rows.shape(), (std::vector<int64_t>{2, 3}));
  std::vector<float> second(3);
  rows.read(3, second);
  EXPECT_EQ(second, (std::vector<float>{3, 4, 5}));
  // With the first index fastest the array is [[0, 2, 4], [1, 3, 5]].
  const NpyArray columns(npy(header("<i2", "(2, 3)", true), data), "a.npy");
  columns.read(3, second);
  EXPECT_EQ(second, (std::vector<float>{1, 3, 5}));
  // [2, 2, 2]: element (i, j, k) lies at i + 2 j + 4 k.
  EXPECT_EQ(
      read(npy(header("|u1", "(2, 2, 2)", true), bytes_of<uint8_t>({0, 1, 2, 3, 4, 5, 6, 7}))),
      (std::vector<float>{0, 4, 2, 6, 1, 5, 3, 7}));
  EXPECT_EQ(read(npy(header("<i2", "()"), bytes_of<int16_t>({7}))), (std::vector<float>{7}));
  EXPECT_EQ(NpyArray(npy(header("<f4", "(0, 5)"), ""), "a.npy").size(), 0);
  EXPECT_EQ(NpyArray(npy(header("<f4", "(0, 5)", true), ""), "a.npy").size(), 0);
}

TEST(Npy, ReadsAHeaderHoweverItIsWritten) {
  const std::string data = bytes_of<float>({1, 2});
  for (const std::string text :
       {"{\"shape\":(2,),\"fortran_order\":False,\"descr\":\"<f4\"}",
        "{ 'shape' : ( 1 , 2 ) , 'descr' : '<f4' , 'fortran_order' : False , }",
        "{'descr':'<f4','fortran_order':True,'shape':(2,1)}"}) {
    EXPECT_EQ(read(npy(text, data)), (std::vector<float>{1, 2})) << text;
  }
}

void expect_refused(const std::string& content, const std::string& part) {
  expect_data_error([&] { read(content); }, {"a.npy: ", part});
}

TEST(Npy, RefusesDamagedHeaders) {
  const std::string data = bytes_of<float>({1, 2});
  for (const std::string text :
       {"", "{", "{}", "[]", "{'descr': '<f4'}", "{'descr': '<f4', 'fortran_order': False}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} x",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'more': 1}",
        "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2,)}",
        "{'descr': '<f4', 'fortran_order': 0, 'shape': (2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': 2}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, -1)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2.0,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (,)}",
        "{'descr': '<f4', 'fortran_order': False 'shape': (2,)}",
        "{'descr': __import__('os'), 'fortran_order': False, 'shape': (2,)}", "{'descr: '<f4'"}) {
    expect_refused(npy(text, data), "damaged .npy file");
  }
  std::string many = "(1";
  for (int i = 0; i < 40; ++i) {
    many += ", 1";
  }
  expect_refused(npy(header("<f4", many + ")"), data), "at most 32 dimensions");
}

TEST(Npy, RefusesOtherTypes) {
  for (const std::string type :
       {"<c8", "<f16", "|O", "<U3", "|S4", "<M8", "|i4", "=f8", "<f3", "f4", "<f44", "", "<b2"}) {
    expect_refused(npy(header(type, "(2,)"), "01234567"), "'" + type + "'");
  }
  expect_refused(
      npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,)}", "01234567"),
      "records of several fields");
}

TEST(Npy, RefusesSizesThatDisagreeWithTheFile) {
  const std::string data = bytes_of<float>({1, 2, 3});
  expect_refused(npy(header("<f4", "(4,)"), data), "says 16 bytes of values, the file has 12");
  expect_refused(npy(header("<f4", "(2,)"), data), "says 8 bytes of values, the file has 12");
  for (const std::string shape :
       {"(4611686018427387904, 4)", "(9223372036854775807,)",
        "(4294967296, 4294967296, 4294967296)", "(3037000500, 3037000500, 0, 2)"}) {
    expect_refused(npy(header("<f4", shape), data), "truncated or damaged");
  }
}

TEST(Npy, RefusesEveryTruncation) {
  const std::string whole = npy(header("<f4", "(3,)"), bytes_of<float>({1, 2, 3}));
  for (size_t size = 0; size < whole.size(); ++size) {
    expect_refused(whole.substr(0, size), "");
  }
  std::string claims = npy(header("<f4", "(3,)"), "", 2);
  claims.replace(8, 4, "\xff\xff\xff\xff");
  expect_refused(claims, "a header of 4294967295 bytes");
  claims[6] = 4;
  expect_refused(claims, "version 1, 2 or 3");
  expect_refused("PK\x03\x04", "expected a .npy file");
}

TEST(Npy, RefusesValuesThatAreNotFinite) {
  expect_refused(npy(header("<f4", "(2,)"), bytes_of<float>({0, NAN})), "element 1 is nan");
  expect_refused(npy(header("<f8", "(2,)"), bytes_of<double>({1e300, 0})), "element 0 is inf");
  expect_refused(npy(header("<f2", "(1,)"), bytes_of<uint16_t>({0xfc00})), "element 0 is -inf");
  expect_refused(npy(header("<f2", "(1,)"), bytes_of<uint16_t>({0x7c01})), "nan");
}

}  // namespace
}  // namespace unbraid
