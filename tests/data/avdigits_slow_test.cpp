#include "unbraid/data/avdigits.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include <gtest/gtest.h>

#include "unbraid/data/avdigits_speech.h"

namespace unbraid {
namespace {

namespace fs = std::filesystem;

std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(AvDigitsWithEspeak, SpeaksEveryDigitWithEverySpeaker) {
  for (const Split split : {Split::kTrain, Split::kVal, Split::kTest}) {
    int digit = 0;
    for (const std::string& speaker : avdigits::speakers(split)) {
      const auto speech = avdigits::speak(digit, {.name = "en-us+" + speaker});
      EXPECT_GT(speech.size(), 1000U) << speaker << digit;
      EXPECT_LT(speech.size(), 9000U) << speaker << digit;
      EXPECT_NE(speech, avdigits::speak((digit + 1) % 10, {.name = "en-us+" + speaker}));
      digit = (digit + 1) % 10;
    }
  }
}

TEST(AvDigitsWithEspeak, GivesTheSameBytesTwice) {
  std::string name = (fs::temp_directory_path() / "avdigits-slow-XXXXXX").string();
  ASSERT_NE(mkdtemp(name.data()), nullptr);
  const fs::path folder = name;
  AvDigitsOptions options;
  options.train = options.val = options.test = 20;
  options.threads = 1;
  options.cache = (folder / "first").string();
  const fs::path first = fs::path(prepare_avdigits(options)).parent_path();
  options.threads = 4;
  options.cache = (folder / "second").string();
  const fs::path second = fs::path(prepare_avdigits(options)).parent_path();
  int files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(first)) {
    if (entry.is_regular_file()) {
      const fs::path path = fs::relative(entry.path(), first);
      EXPECT_EQ(read_file(entry.path()), read_file(second / path)) << path;
      ++files;
    }
  }
  EXPECT_EQ(files, 121);
  fs::remove_all(folder);
}

}  // namespace
}  // namespace unbraid
