#include "unbraid/core/safetensors.h"

#include <array>
#include <cstring>
#include <limits>
#include <string>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "core/storage_testing.h"
#include "unbraid/core/safetensors_header.h"

namespace unbraid {
namespace {

namespace fs = std::filesystem;
using testing::read_text;
using testing::storage_error;
using testing::TemporaryFolder;
using testing::write_text;

std::string assemble(const std::string& header, const std::string& data) {
  const uint64_t length = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + data;
}

std::string two_tensors() {
  return assemble(
      R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
      R"("b":{"dtype":"U8","shape":[1,3],"data_offsets":[8,11]},"__metadata__":{"k":"v"}})",
      std::string("\x00\x00\x80\x3f\x00\x00\x00\xc0\x01\x02\xff", 11));
}

bool same_bits(const torch::Tensor& left, const torch::Tensor& right) {
  const torch::Tensor a = left.cpu().contiguous();
  const torch::Tensor b = right.cpu().contiguous();
  return a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() &&
         (a.numel() == 0 || std::memcmp(a.data_ptr(), b.data_ptr(), a.nbytes()) == 0);
}

class Safetensors : public ::testing::Test {
 protected:
  std::string error_of(const std::string& bytes) {
    write_text(path_, bytes);
    return storage_error([&] { read_safetensors(path_); });
  }
  std::string error_of_header(const std::string& header, size_t data_size = 0) {
    return error_of(assemble(header, std::string(data_size, '\0')));
  }

  TemporaryFolder folder_;
  std::string path_ = folder_.file("weights.safetensors");
};

TEST_F(Safetensors, ReadsAFileAssembledByHand) {
  write_text(path_, two_tensors());
  const SafetensorsFile file = read_safetensors(path_);
  ASSERT_EQ(file.tensors.size(), 2U);
  EXPECT_EQ(file.tensors[0].first, "a");
  EXPECT_TRUE(same_bits(file.tensors[0].second, torch::tensor({1.0F, -2.0F})));
  EXPECT_EQ(file.tensors[1].first, "b");
  EXPECT_TRUE(same_bits(file.tensors[1].second, torch::tensor({{1, 2, 255}}, torch::kUInt8)));
  EXPECT_EQ(file.metadata, (std::map<std::string, std::string>{{"k", "v"}}));
}

TEST_F(Safetensors, WritesTheBytesOfThePublishedFormat) {
  write_safetensors(
      path_,
      {{"b", torch::tensor({{1, 2, 255}}, torch::kUInt8)}, {"a", torch::tensor({1.0F, -2.0F})}},
      {{"k", "v"}});
  // Wide elements come first in the data; the header is padded to a multiple of 8.
  std::string header =
      R"({"__metadata__":{"k":"v"},"b":{"dtype":"U8","shape":[1,3],"data_offsets":[8,11]},)"
      R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  EXPECT_EQ(read_text(path_),
            assemble(header, std::string("\x00\x00\x80\x3f\x00\x00\x00\xc0\x01\x02\xff", 11)));
}

TEST_F(Safetensors, RoundTripsEveryDtypeAndShapeBitForBit) {
  NamedTensors tensors;
  for (const torch::ScalarType type :
       {torch::kFloat64, torch::kFloat32, torch::kFloat16, torch::kBFloat16, torch::kInt64,
        torch::kInt32, torch::kInt16, torch::kInt8, torch::kUInt8, torch::kBool}) {
    const std::string name = c10::toString(type);
    const torch::Tensor values = torch::arange(-12, 12).reshape({2, 3, 4}).to(type);
    tensors.emplace_back(name + ".plain", values);
    tensors.emplace_back(name + ".scalar", values[1][2][1].clone());
    tensors.emplace_back(name + ".empty", torch::empty({3, 0, 2}, type));
    tensors.emplace_back(name + ".transposed", values.transpose(0, 2));
    tensors.emplace_back(name + ".strided", values.slice(2, 1, 4, 2));
    tensors.emplace_back(name + ".expanded", values[0][0].expand({5, 4}));
  }
  tensors.emplace_back("needs gradient", torch::ones({2}).requires_grad_());
  tensors.emplace_back("\xc3\xa9\"\\\n/\x01", torch::ones({1}));
  tensors.emplace_back("", torch::ones({1}));
  const std::map<std::string, std::string> metadata = {{"format", "pt"}, {"\n\"", "\xe2\x82\xac"}};
  write_safetensors(path_, tensors, metadata);
  const SafetensorsFile file = read_safetensors(path_);
  EXPECT_EQ(file.metadata, metadata);
  ASSERT_EQ(file.tensors.size(), tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) {
    EXPECT_EQ(file.tensors[i].first, tensors[i].first);
    EXPECT_TRUE(same_bits(file.tensors[i].second, tensors[i].second)) << tensors[i].first;
    EXPECT_TRUE(file.tensors[i].second.is_contiguous());
    EXPECT_FALSE(file.tensors[i].second.requires_grad());
  }
}

TEST_F(Safetensors, KeepsNanPayloadsAndNegativeZero) {
  const std::array<uint32_t, 5> bits = {0x7fc12345, 0xffabcdef, 0x7f800001, 0x80000000, 0x00000001};
  torch::Tensor tensor = torch::empty({5});
  std::memcpy(tensor.data_ptr(), bits.data(), sizeof(bits));
  write_safetensors(path_, {{"x", tensor}});
  const torch::Tensor read = read_safetensors(path_).tensors.at(0).second;
  EXPECT_EQ(std::memcmp(read.data_ptr(), bits.data(), sizeof(bits)), 0);
}

TEST_F(Safetensors, ResolvesALazyNegation) {
  const torch::Tensor negated =
      torch::imag(torch::complex(torch::ones({2}), torch::full({2}, 3.0F)).conj());
  ASSERT_TRUE(negated.is_neg());
  write_safetensors(path_, {{"x", negated}});
  EXPECT_TRUE(read_safetensors(path_).tensors.at(0).second.equal(torch::full({2}, -3.0F)));
}

TEST_F(Safetensors, CopiesFromAnAccelerator) {
  if (!torch::cuda::is_available()) {
    GTEST_SKIP() << "no GPU";
  }
  write_safetensors(path_, {{"x", torch::full({3}, 2.5F, torch::kCUDA)}});
  EXPECT_TRUE(read_safetensors(path_).tensors.at(0).second.equal(torch::full({3}, 2.5F)));
}

TEST_F(Safetensors, HoldsNoTensorAtAll) {
  write_safetensors(path_, {});
  EXPECT_TRUE(read_safetensors(path_).tensors.empty());
  EXPECT_EQ(error_of_header("{}"), "");
}

TEST_F(Safetensors, RefusesToWriteWhatItCouldNotRead) {
  const torch::Tensor one = torch::ones({1});
  const auto error = [&](const NamedTensors& tensors,
                         const std::map<std::string, std::string>& metadata = {}) {
    return storage_error([&] { write_safetensors(path_, tensors, metadata); });
  };
  EXPECT_EQ(error({{"x", one}, {"x", one}}),
            path_ + ": cannot be written: tensor name \"x\" is used twice");
  EXPECT_EQ(error({{"__metadata__", one}}),
            path_ + ": cannot be written: tensor name \"__metadata__\" is reserved");
  EXPECT_EQ(error({{"\xff", one}}), path_ + ": cannot be written: a name or text is not UTF-8");
  EXPECT_EQ(error({}, {{"k", "\xff"}}), path_ + ": cannot be written: a name or text is not UTF-8");
  EXPECT_EQ(error({{"x", torch::Tensor()}}),
            path_ + ": cannot be written: tensor \"x\" is undefined");
  EXPECT_EQ(
      error({{"x", torch::ones({1}, torch::kComplexFloat)}}),
      path_ + ": cannot be written: tensor \"x\" has dtype ComplexFloat, which the format lacks");
  EXPECT_EQ(error({{"x", torch::ones({2, 2}).to_sparse()}}),
            path_ + ": cannot be written: tensor \"x\" is not a dense tensor with data");
  EXPECT_EQ(error({{"x", torch::empty({2}, torch::kMeta)}}),
            path_ + ": cannot be written: tensor \"x\" is not a dense tensor with data");
  EXPECT_NE(error({{std::string(17 << 20, 'x'), one}}).find("the header takes"), std::string::npos);
  EXPECT_EQ(testing::entries_in(folder_.path()), 0U);
}

TEST_F(Safetensors, RefusesEveryTruncation) {
  const std::string bytes = two_tensors();
  for (size_t size = 0; size < bytes.size(); ++size) {
    const std::string error = error_of(bytes.substr(0, size));
    EXPECT_EQ(error.rfind(path_ + ": ", 0), 0U) << size << " bytes: " << error;
    EXPECT_EQ(error.find('\n'), std::string::npos);
  }
  EXPECT_EQ(error_of(bytes), "");
  EXPECT_NE(error_of(bytes + "x"), "");
}

// A flipped bit gives an error or another legal file, whose tensors still lie inside the data.
TEST_F(Safetensors, SurvivesEveryFlippedBitOfTheHeader) {
  const std::string bytes = two_tensors();
  size_t refused = 0;
  size_t accepted = 0;
  for (size_t bit = 0; bit < (bytes.size() - 11) * 8; ++bit) {
    std::string flipped = bytes;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    write_text(path_, flipped);
    try {
      size_t total = 0;
      for (const auto& [name, tensor] : read_safetensors(path_).tensors) {
        total += tensor.nbytes();
      }
      EXPECT_EQ(total, 11U);
      ++accepted;
    } catch (const StorageError& error) {
      EXPECT_EQ(std::string(error.what()).find_first_of("\n\r"), std::string::npos);
      ++refused;
    }
  }
  EXPECT_GT(refused, 10 * accepted);
  EXPECT_GT(accepted, 0U);  // the bits of the names
}

TEST_F(Safetensors, RefusesAbsurdHeaderLengths) {
  for (const uint64_t length :
       {uint64_t{3}, uint64_t{16} << 20, (uint64_t{16} << 20) + 1, uint64_t{1} << 40,
        std::numeric_limits<uint64_t>::max(), std::numeric_limits<uint64_t>::max() - 7}) {
    std::string bytes(8, '\0');
    std::memcpy(bytes.data(), &length, 8);
    EXPECT_NE(error_of(bytes + "{}"), "") << length;
  }
  const std::string long_header = "{}" + std::string(kMaxSafetensorsHeader - 2, ' ');
  EXPECT_EQ(error_of_header(long_header), "");
  EXPECT_NE(error_of_header(long_header + " ").find("at most 16777216"), std::string::npos);
}

std::string entry(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

std::string one(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"x":)" + entry(dtype, shape, offsets) + "}";
}

std::string two(const std::string& first, const std::string& second) {
  return R"({"x":)" + entry("U8", "[4]", first) + R"(,"y":)" + entry("U8", "[4]", second) + "}";
}

TEST_F(Safetensors, RefusesOffsetsThatDoNotCoverTheData) {
  EXPECT_EQ(error_of_header(two("[0,4]", "[4,8]"), 8), "");
  EXPECT_EQ(error_of_header(two("[4,8]", "[0,4]"), 8), "");
  EXPECT_EQ(error_of_header(two("[0,4]", "[5,9]"), 9),
            path_ +
                ": tensor \"y\": data_offsets start at 5, expected 4: tensors must follow each "
                "other without gap or overlap");
  EXPECT_NE(error_of_header(two("[0,4]", "[3,7]"), 7), "");
  EXPECT_NE(error_of_header(two("[0,4]", "[0,4]"), 4), "");
  EXPECT_NE(error_of_header(two("[1,5]", "[5,9]"), 9), "");
  EXPECT_NE(error_of_header(two("[0,4]", "[8,4]"), 8), "");
  EXPECT_EQ(error_of_header(two("[0,4]", "[4,8]"), 9),
            path_ + ": the header describes 8 bytes of data, the file has 9");
  EXPECT_EQ(error_of_header(two("[0,4]", "[4,8]"), 7),
            path_ + ": the header describes 8 bytes of data, the file has 7 (truncated?)");
  EXPECT_EQ(error_of_header(one("U8", "[4]", "[0,5]"), 5),
            path_ + ": tensor \"x\": shape [4] of U8 takes 4 bytes, data_offsets are [0, 5]");
  EXPECT_NE(error_of_header(one("F32", "[4]", "[0,4]"), 4), "");
  EXPECT_NE(error_of_header(one("U8", "[]", "[0,0]"), 0), "");
  EXPECT_NE(error_of_header(one("U8", "[4]", "[18446744073709551615,3]"), 4), "");
  EXPECT_NE(error_of_header(one("U8", "[4]", "[0]"), 4), "");
  EXPECT_NE(error_of_header(one("U8", "[4]", "[0,4,4]"), 4), "");
}

TEST_F(Safetensors, RefusesShapesThatOverflow) {
  for (const std::string shape :
       {"[9223372036854775807]", "[9223372036854775807,9223372036854775807]",
        "[4294967296,4294967296]", "[4294967296,4294967296,0]", "[0,9223372036854775807,2]",
        "[3037000500,3037000500]", "[18446744073709551615]", "[18446744073709551616]",
        "[9223372036854775808]", "[1e3]", "[-1]", "[2.0]", "[null]", "[[1]]", "[\"1\"]",
        "[true]"}) {
    EXPECT_NE(error_of_header(one("F32", shape, "[0,0]"), 0), "") << shape;
    EXPECT_NE(error_of_header(one("U8", shape, "[0,1]"), 1), "") << shape;
  }
  std::string ones = "[1";
  for (int i = 1; i < 64; ++i) {
    ones += ",1";
  }
  EXPECT_EQ(error_of_header(one("U8", ones + "]", "[0,1]"), 1), "");
  EXPECT_EQ(
      error_of_header(one("U8", ones + ",1]", "[0,1]"), 1),
      path_ + ": tensor \"x\": \"shape\": expected a list of sizes, found more than 64 numbers");
}

TEST_F(Safetensors, RefusesUnknownDtypesAndOddBooleans) {
  EXPECT_EQ(error_of_header(one("F8_E4M3", "[1]", "[0,1]"), 1),
            path_ +
                ": tensor \"x\": expected a dtype of F64 F32 F16 BF16 I64 I32 I16 I8 U8 BOOL, "
                "found \"F8_E4M3\"");
  EXPECT_NE(error_of_header(one("f32", "[1]", "[0,4]"), 4), "");
  EXPECT_EQ(error_of(assemble(one("BOOL", "[2]", "[0,2]"), std::string("\x01\x00", 2))), "");
  EXPECT_EQ(error_of(assemble(one("BOOL", "[2]", "[0,2]"), "\x01\x02")),
            path_ + ": tensor \"x\": a BOOL is neither 0 nor 1");
}

TEST_F(Safetensors, NamesWhatAHeaderLacks) {
  EXPECT_EQ(error_of_header(" {}"), path_ + ": the header does not start with '{'");
  EXPECT_EQ(error_of_header(R"({"x":{"dtype":"U8","data_offsets":[0,1]}})", 1),
            path_ +
                ": tensor \"x\": expected dtype, shape and data_offsets, found only "
                "data_offsets, dtype");
  EXPECT_EQ(
      error_of_header(R"({"x":{"dtype":"U8","shape":[0]}})"),
      path_ + ": tensor \"x\": expected dtype, shape and data_offsets, found only dtype, shape");
}

TEST_F(Safetensors, RefusesHeadersOfAnotherStructure) {
  const std::string fine = entry("U8", "[4]", "[0,4]");
  EXPECT_EQ(error_of_header(R"({"x":)" + fine + R"(,"x":)" + fine + "}", 4),
            path_ + ": \"x\": expected an object, once per name, found this key a second time");
  const std::string bad[] = {
      "",
      " {}",
      "\xef\xbb\xbf{}",
      "[]",
      "{",
      "{}{}",
      "{}x",
      "{'x':1}",
      "{\"x\":1}",
      "{\"x\":[]}",
      "{\"x\":null}",
      "{\"x\":{}}",
      R"({"x":{"dtype":"U8","shape":[4]}})",
      R"({"x":{"dtype":"U8","data_offsets":[0,4]}})",
      R"({"x":{"shape":[4],"data_offsets":[0,4]}})",
      R"({"x":{"dtype":"U8","dtype":"U8","shape":[4],"data_offsets":[0,4]}})",
      R"({"x":{"dtype":"U8","shape":[4],"data_offsets":[0,4],"more":1}})",
      R"({"x":{"dtype":["U8"],"shape":[4],"data_offsets":[0,4]}})",
      R"({"x":{"dtype":1,"shape":[4],"data_offsets":[0,4]}})",
      R"({"x":{"dtype":"U8","shape":"4","data_offsets":[0,4]}})",
      R"({"x":{"dtype":"U8","shape":4,"data_offsets":[0,4]}})",
      R"({"x":{"dtype":"U8","shape":{"a":4},"data_offsets":[0,4]}})",
      R"({"__metadata__":{"k":1},"x":)" + fine + "}",
      R"({"__metadata__":{"k":{}},"x":)" + fine + "}",
      R"({"__metadata__":{"k":["v"]},"x":)" + fine + "}",
      R"({"__metadata__":{"k":"v","k":"v"},"x":)" + fine + "}",
      R"({"__metadata__":"v","x":)" + fine + "}",
      R"({"__metadata__":{},"__metadata__":{},"x":)" + fine + "}",
      "{\"\xff\":" + fine + "}",
      "{\"\xed\xa0\x80\":" + fine + "}",
      std::string("{\"\0\":", 5) + fine + "}",
  };
  for (const std::string& header : bad) {
    const std::string error = error_of_header(header, 4);
    EXPECT_EQ(error.rfind(path_ + ": ", 0), 0U) << header << ": " << error;
    EXPECT_TRUE(std::all_of(error.begin(), error.end(), [](char c) { return c >= ' ' && c < 127; }))
        << error;
  }
}

TEST_F(Safetensors, RefusesDeepNestingAtOnce) {
  for (const std::string open : {"[", "{\"x\":"}) {
    std::string nested;
    for (int i = 0; i < 1000000; ++i) {
      nested += open;
    }
    EXPECT_NE(error_of_header(nested), "");
    EXPECT_NE(error_of_header("{\"x\":" + nested), "");
    EXPECT_NE(error_of_header("{\"x\":{\"shape\":" + nested), "");
    EXPECT_NE(error_of_header("{\"__metadata__\":{\"k\":" + nested), "");
  }
}

TEST_F(Safetensors, CutsLongNamesInMessages) {
  const std::string name(1 << 20, 'n');
  const std::string error =
      error_of_header("{\"" + name + "\":" + entry("U8", "[4]", "[0,5]") + "}", 5);
  EXPECT_NE(error, "");
  EXPECT_LT(error.size(), 500U);
}

TEST_F(Safetensors, RefusesWhatIsNoFile) {
  EXPECT_EQ(storage_error([&] { read_safetensors(path_); }),
            path_ + ": cannot open: No such file or directory");
  EXPECT_EQ(storage_error([&] { read_safetensors(folder_.path().string()); }),
            folder_.path().string() + ": expected a regular file, found a directory");
  ASSERT_EQ(::mkfifo(path_.c_str(), 0600), 0);
  EXPECT_EQ(storage_error([&] { read_safetensors(path_); }),
            path_ + ": expected a regular file, found a device or a pipe");
  EXPECT_NE(storage_error([&] { read_safetensors("/dev/zero"); }), "");
}

TEST_F(Safetensors, NeverReplacesADeviceOrADirectory) {
  const NamedTensors tensors = {{"x", torch::ones({1000})}};
  EXPECT_EQ(testing::run_in_child([&] {
              testing::break_system_call(SYS_rename, EPERM);  // whatever happens, /dev/full stays
              return storage_error([&] { write_safetensors("/dev/full", tensors); }) ==
                             "/dev/full: cannot be replaced: expected a regular file, found a "
                             "device or a pipe"
                         ? 0
                         : 1;
            }),
            0);
  ASSERT_EQ(::mkfifo(path_.c_str(), 0600), 0);
  EXPECT_EQ(storage_error([&] { write_safetensors(path_, tensors); }),
            path_ + ": cannot be replaced: expected a regular file, found a device or a pipe");
  EXPECT_TRUE(fs::is_fifo(path_));
  EXPECT_NE(storage_error([&] { write_safetensors(folder_.path().string(), tensors); }), "");
  EXPECT_EQ(storage_error([&] {
              write_safetensors(folder_.file("no/where"), tensors);
            }).rfind(folder_.file("no/where"), 0),
            0U);
}

TEST_F(Safetensors, LeavesThePreviousFileWhenWritingFails) {
  write_safetensors(path_, {{"x", torch::ones({3})}});
  const std::string before = read_text(path_);
  const NamedTensors large = {{"x", torch::ones({100000})}};
  const auto write_large = [&] {
    write_safetensors(path_, large);
    return 0;
  };
  EXPECT_EQ(testing::run_in_child([&] {
              testing::limit_file_size(100000);
              return write_large();
            }),
            5);
  for (const int call : {SYS_fsync, SYS_rename, SYS_write}) {
    EXPECT_EQ(testing::run_in_child([&] {
                return testing::break_system_call(call, call == SYS_write ? ENOSPC : EIO)
                           ? write_large()
                           : 5;
              }),
              5)
        << call;
  }
  EXPECT_EQ(read_text(path_), before);
  // The name that was asked for, not the one beside it.
  EXPECT_TRUE(storage_error([] {
                write_safetensors("/proc/x.safetensors", {});
              }).starts_with("/proc/x.safetensors: cannot create: "));
  EXPECT_EQ(testing::entries_in(folder_.path()), 1U);
  EXPECT_EQ(testing::run_in_child([&] {
              testing::limit_file_size(1000);
              return storage_error(write_large) == path_ + ": cannot write: File too large" ? 0 : 1;
            }),
            0);
}

TEST_F(Safetensors, RemovesWhatADeadWriterLeft) {
  const pid_t dead = testing::start_child([] { return 0; });
  testing::wait_for_child(dead);
  write_text(path_ + ".tmp." + std::to_string(dead), "left over");
  write_text(path_ + ".tmp.1", "of a living process");
  write_text(path_ + ".tmp.x", "not ours");
  write_safetensors(path_, {{"x", torch::ones({3})}});
  EXPECT_EQ(testing::entries_in(folder_.path()), 3U);
  EXPECT_FALSE(fs::exists(path_ + ".tmp." + std::to_string(dead)));
}

TEST_F(Safetensors, WritesThroughASymbolicLink) {
  const std::string link = folder_.file("link");
  write_text(path_, "old");
  fs::create_symlink(path_, link);
  write_safetensors(link, {{"x", torch::ones({3})}});
  EXPECT_TRUE(fs::is_symlink(link));
  EXPECT_EQ(read_safetensors(path_).tensors.size(), 1U);
}

}  // namespace
}  // namespace unbraid
