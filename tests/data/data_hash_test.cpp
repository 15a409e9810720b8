#include "unbraid/data/data_hash.h"

#include <filesystem>

#include <gtest/gtest.h>

#include "temporary_folder.h"

namespace unbraid {
namespace {

using testing::TemporaryFolder;
using testing::write_text;

/// A cell is one path, or a folder of files.
class Paths final : public Decoder {
 public:
  void check(const std::string& /*cell*/) const override {}
  [[nodiscard]] std::vector<std::string> files(const std::string& cell) const override {
    if (!std::filesystem::is_directory(cell)) {
      return {cell};
    }
    std::vector<std::string> files;
    for (int i = 0; i < 5; ++i) {
      files.push_back(cell + "/" + std::to_string(i));
    }
    return files;
  }
  [[nodiscard]] torch::Tensor decode(const std::string& /*cell*/) const override { return {}; }
  [[nodiscard]] torch::Tensor transform(const torch::Tensor& decoded,
                                        const SampleContext& /*context*/) const override {
    return decoded;
  }
};

TEST(FilesHash, IsOfContentAndNotOfNamesAndTimes) {
  const TemporaryFolder folder;
  const std::string place = folder.path().string();
  const std::string long_text(20000, 'x');
  write_text(folder / "a", long_text);
  write_text(folder / "b", "short");
  const std::string hash = files_hash({"a", "", "b"}, Paths(), place);
  EXPECT_EQ(hash.size(), 16);
  std::filesystem::copy_file(folder / "a", folder / "copy");
  EXPECT_EQ(files_hash({"copy", "b"}, Paths(), place), hash);
  EXPECT_NE(files_hash({"b", "a"}, Paths(), place), hash);
  EXPECT_NE(files_hash({"a"}, Paths(), place), hash);
  EXPECT_NE(files_hash({"a", "missing"}, Paths(), place), hash);

  std::string changed = long_text;
  changed[10000] = 'y';  // as long as before
  write_text(folder / "a", changed);
  EXPECT_NE(files_hash({"a", "b"}, Paths(), place), hash);
  write_text(folder / "a", long_text + "x");
  EXPECT_NE(files_hash({"a", "b"}, Paths(), place), hash);
  write_text(folder / "a", long_text);
  EXPECT_EQ(files_hash({"a", "b"}, Paths(), place), hash);
}

TEST(FilesHash, OfAFolderLooksAtThree) {
  const TemporaryFolder folder;
  const std::filesystem::path clip = folder / "clip";
  std::filesystem::create_directories(clip);
  for (int i = 0; i < 5; ++i) {
    write_text(clip / std::to_string(i), std::string(1, static_cast<char>('a' + i)));
  }
  const auto hash = [&] { return files_hash({"clip"}, Paths(), folder.path().string()); };
  const std::string before = hash();
  for (const char* number : {"0", "2", "4"}) {
    const std::string content = testing::read_text(clip / number);
    write_text(clip / number, "z");
    EXPECT_NE(hash(), before) << number;
    write_text(clip / number, content);
  }
  EXPECT_EQ(hash(), before);
}

TEST(DataHash, DiffersInWhatBothKnow) {
  const DataHash data{"m", {{"audio/train", "1"}, {"audio/test", "2"}}};
  EXPECT_EQ(difference_of_data(data, data), "");
  EXPECT_EQ(difference_of_data(data, {"m", {}}), "");
  EXPECT_EQ(difference_of_data(data, {"m", {{"visual/train", "3"}}}), "");
  EXPECT_EQ(difference_of_data(data, {"n", data.files}), "manifests (hash m, not n)");
  EXPECT_EQ(difference_of_data(data, {"m", {{"audio/test", "3"}}}),
            "files of audio/test (hash 2, not 3)");
}

}  // namespace
}  // namespace unbraid
