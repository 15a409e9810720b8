#include "unbraid/media/array.h"

#include <sys/stat.h>

#include <cmath>

#include "media/reference.h"

namespace unbraid {
namespace {

using testing::content_of;
using testing::expect_data_error;
using testing::message_of;
using testing::options_of;
using testing::TemporaryFolder;

std::string npy(const std::string& shape, const std::vector<float>& values) {
  std::string text =
      fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': {}, }}", shape);
  text.resize(117, ' ');
  const std::string data(reinterpret_cast<const char*>(values.data()), 4 * values.size());
  return std::string("\x93NUMPY\x01\0\x76\0", 10) + text + "\n" + data;
}

class Array : public ::testing::Test {
 protected:
  TemporaryFolder folder_;
};

TEST_F(Array, ReadsASamplesOwnFile) {
  Options options = options_of({});
  const ArrayDecoder decoder(options);
  options.finish();
  EXPECT_EQ(decoder.resolve("a.npy", "/set"), "/set/a.npy");
  const std::string path = folder_.write("a.npy", npy("(2, 3)", {1, 2, 3, 4, 5, 6}));
  EXPECT_NO_THROW(decoder.check(path));
  const torch::Tensor array = decoder.transform(decoder.decode(path), {});
  EXPECT_EQ(array.dtype(), torch::kFloat);
  EXPECT_TRUE(torch::equal(array, torch::tensor({{1.F, 2.F, 3.F}, {4.F, 5.F, 6.F}})));
}

TEST_F(Array, ReadsASingleNumberAsAVector) {
  Options options = options_of({});
  const ArrayDecoder decoder(options);
  EXPECT_TRUE(
      torch::equal(decoder.decode(folder_.write("a.npy", npy("()", {3}))), torch::tensor({3.0F})));
  Options of_rows = options_of({{"table", folder_.write("t.npy", npy("(3,)", {4, 5, 6}))}});
  EXPECT_TRUE(torch::equal(ArrayDecoder(of_rows).decode("1"), torch::tensor({5.0F})));
}

TEST_F(Array, ReadsARowOfATable) {
  const std::string path = folder_.write("t.npy", npy("(3, 2, 1)", {1, 2, 3, 4, 5, 6}));
  Options options = options_of({{"table", path}});
  const ArrayDecoder decoder(options);
  options.finish();
  EXPECT_EQ(decoder.resolve("3", "/set"), "3");
  std::filesystem::remove(path);  // it is held in memory
  EXPECT_NO_THROW(decoder.check("2"));
  EXPECT_TRUE(torch::equal(decoder.decode("1"), torch::tensor({{3.F}, {4.F}})));
  for (const std::string cell : {"3", "-1", "1.0", " 1", "1 ", "", "x", "99999999999999999999"}) {
    expect_data_error([&] { decoder.check(cell); },
                      {path, "a row number from 0 to 2", "'" + cell + "'"});
    expect_data_error([&] { return decoder.decode(cell); }, {path});
  }
}

TEST_F(Array, NormalizesASample) {
  Options options = options_of({{"normalize", std::string("sample")}});
  const ArrayDecoder decoder(options);
  const torch::Tensor result = decoder.transform(torch::tensor({1.F, 2.F, 3.F, 4.F}), {});
  // Mean 2.5, deviation sqrt(1.25).
  EXPECT_NEAR(result[0].item<double>(), -1.5 / std::sqrt(1.25), 1e-6);
  EXPECT_NEAR(result[3].item<double>(), 1.5 / std::sqrt(1.25), 1e-6);
  EXPECT_TRUE(torch::equal(decoder.transform(torch::full({3}, 0.1F), {}), torch::zeros({3})));
}

TEST_F(Array, RefusesWhatHoldsNoArray) {
  Options options = options_of({});
  const ArrayDecoder decoder(options);
  const std::string fifo = folder_.file("fifo");
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  for (const std::string& path :
       {fifo, folder_.file(""), folder_.file("missing.npy"), folder_.write("empty.npy", "")}) {
    expect_data_error([&] { decoder.check(path); }, {path});
    expect_data_error([&] { return decoder.decode(path); }, {path});
    expect_data_error(
        [&] {
          Options given = options_of({{"table", path}});
          ArrayDecoder another(given);
        },
        {path});
  }
  const std::string none = folder_.write("none.npy", npy("(0, 4)", {}));
  expect_data_error([&] { return decoder.decode(none); }, {none, "it holds none"});
}

TEST_F(Array, RefusesAHugeFileByItsFirstBytes) {
  const std::string path = folder_.write("huge.npy", "not an array");
  std::filesystem::resize_file(path, uint64_t{15} << 30);  // sparse: it takes no room on the disk
  Options options = options_of({});
  const ArrayDecoder decoder(options);
  expect_data_error([&] { return decoder.decode(path); }, {path, "expected a .npy or .npz file"});
}

TEST_F(Array, RefusesATableWithoutRows) {
  for (const auto& [shape, values] :
       {std::pair{"(0, 4)", std::vector<float>{}}, {"()", std::vector<float>{1}}}) {
    const std::string path = folder_.write("t.npy", npy(shape, values));
    expect_data_error(
        [&] {
          Options options = options_of({{"table", path}});
          ArrayDecoder decoder(options);
        },
        {path, "expected"});
  }
}

// What NumPy writes as .npz: `python` makes the call.
class Npz : public ::testing::Test {
 protected:
  std::string write(const std::string& name, const std::string& call) {
    const std::string path = folder_.file(name);
    testing::run(
        fmt::format("/usr/bin/python3 -c \"import numpy as np; path = '{}'; {}\"", path, call));
    return path;
  }
  static ArrayDecoder decoder(const std::string& member, const std::string& table = "") {
    Options options = options_of({{"member", member}, {"table", table}});
    return ArrayDecoder(options);
  }

  TemporaryFolder folder_;
};

TEST_F(Npz, ReadsItsMembers) {
  const std::string two = "a=np.arange(6.0).reshape(2, 3), b=np.array([7, 8], dtype='>i2')";
  for (const std::string save : {"np.savez", "np.savez_compressed"}) {
    const std::string path = write("x.npz", fmt::format("{}(path, {})", save, two));
    const torch::Tensor a = torch::arange(6, torch::kFloat).view({2, 3});
    EXPECT_TRUE(torch::equal(decoder("a").decode(path), a)) << save;
    EXPECT_TRUE(torch::equal(decoder("b").decode(path), torch::tensor({7.0F, 8.0F}))) << save;
    EXPECT_TRUE(torch::equal(decoder("a", path).decode("1"), a[1])) << save;
    expect_data_error([&] { return decoder("c").decode(path); }, {path, "an array c", "a, b"});
    expect_data_error([&] { return decoder("").decode(path); }, {path, "member", "a, b"});
  }
  const std::string one = write("one.npz", "np.savez(path, np.ones(3))");
  EXPECT_TRUE(torch::equal(decoder("").decode(one), torch::ones({3})));
}

TEST_F(Npz, SaysWhatIsWrongWithItsMembers) {
  const std::string none = write("none.npz", "np.savez(path)");
  expect_data_error([&] { return decoder("").decode(none); },
                    {none, "expected one array or more, found none"});
  std::string twice = content_of(write("twice.npz", "np.savez(path, a=[1.0], b=[2.0])"));
  for (size_t at = twice.find("b.npy"); at != std::string::npos; at = twice.find("b.npy")) {
    twice[at] = 'a';
  }
  const std::string path = folder_.write("twice.npz", twice);
  expect_data_error([&] { return decoder("a").decode(path); }, {path, "two members of one name"});
}

TEST_F(Npz, FindsDamage) {
  const std::string path = write("x.npz", "np.savez_compressed(path, a=np.arange(5000.0) ** 2)");
  const std::string whole = content_of(path);
  for (const double part : {0.01, 0.2, 0.5, 0.9, 0.999}) {
    const auto bytes = static_cast<size_t>(part * static_cast<double>(whole.size()));
    const std::string cut = folder_.write("cut.npz", whole.substr(0, bytes));
    expect_data_error([&] { return decoder("a").decode(cut); }, {cut});
  }
  for (size_t byte = 60; byte + 200 < whole.size(); byte += 97) {
    std::string damaged = whole;
    damaged[byte] = static_cast<char>(damaged[byte] ^ 0x20);
    const std::string bad = folder_.write("bad.npz", damaged);
    expect_data_error([&] { return decoder("a").decode(bad); }, {bad});
  }
}

TEST_F(Npz, RefusesBombs) {
  const std::string zeros = write("zeros.npz", "np.savez_compressed(path, a=np.zeros(1000000))");
  EXPECT_EQ(decoder("a").decode(zeros).numel(), 1000000);
  const std::string path = write("x.npz", "np.savez_compressed(path, a=np.zeros(30000000))");
  EXPECT_LT(std::filesystem::file_size(path), 1000000);
  expect_data_error([&] { return decoder("a").decode(path); }, {path, "at most 200 times"});
}

}  // namespace
}  // namespace unbraid
