#include "unbraid/data/generated_set.h"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <set>
#include <stdexcept>
#include <thread>

#include <gtest/gtest.h>

#include "temporary_folder.h"
#include "unbraid/core/error.h"

namespace unbraid {
namespace {

namespace fs = std::filesystem;
using unbraid::testing::read_text;
using unbraid::testing::TemporaryFolder;

GeneratedSetOptions options_in(const TemporaryFolder& folder) {
  GeneratedSetOptions options;
  options.train = 12;
  options.val = 10;
  options.test = 11;
  options.cache = (folder / "cache").string();
  options.threads = 2;
  return options;
}

size_t entries_of(const fs::path& folder) {
  return static_cast<size_t>(
      std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

TEST(GeneratedSet, NumbersItsSamplesSplitBySplit) {
  const TemporaryFolder folder;
  const GeneratedSet set("toys", options_in(folder));
  EXPECT_EQ(set.size(), 33);
  EXPECT_EQ(set.size(Split::kTest), 11);
  const auto expect = [&](size_t number, Split split, size_t index, const char* id) {
    const GeneratedSet::Sample sample = set.sample(number);
    EXPECT_EQ(sample.split, split) << number;
    EXPECT_EQ(sample.index, index) << number;
    EXPECT_EQ(sample.id, id);
  };
  expect(0, Split::kTrain, 0, "train-000000");
  expect(11, Split::kTrain, 11, "train-000011");
  expect(12, Split::kVal, 0, "val-000000");
  expect(32, Split::kTest, 10, "test-000010");
}

TEST(GeneratedSet, IsMadeOnceAndToldApartByNameAndContent) {
  const TemporaryFolder folder;
  const GeneratedSet set("toys", options_in(folder));
  int made = 0;
  const auto generate = [&](const fs::path& draft) {
    EXPECT_TRUE(fs::is_empty(draft));
    ++made;
    GeneratedSet::write(draft / "a.csv", std::to_string(made));
    GeneratedSet::write(draft / "b.csv", "b");
  };
  const fs::path first = set.once("x", "a.csv", generate);
  EXPECT_EQ(first.filename(), "a.csv");
  EXPECT_EQ(fs::path(set.once("x", "b.csv", generate)).parent_path(), first.parent_path());
  EXPECT_EQ(made, 1);
  const fs::path other = set.once("y", "a.csv", generate);
  const fs::path renamed = GeneratedSet("games", options_in(folder)).once("x", "a.csv", generate);
  EXPECT_EQ(made, 3);
  EXPECT_EQ(read_text(first), "1");
  EXPECT_EQ(read_text(other), "2");
  EXPECT_EQ(read_text(renamed), "3");
  EXPECT_EQ(entries_of(folder / "cache"), 3);
}

TEST(GeneratedSet, LeavesNothingOfWhatFails) {
  const TemporaryFolder folder;
  const GeneratedSet set("toys", options_in(folder));
  const auto fail = [](const fs::path& draft) {
    GeneratedSet::write(draft / "half", "");
    throw std::runtime_error("enough");
  };
  EXPECT_THROW(static_cast<void>(set.once("x", "a.csv", fail)), std::runtime_error);
  EXPECT_EQ(entries_of(folder / "cache"), 0);
  EXPECT_THROW(GeneratedSet::write(folder / "none" / "file", "x"), StorageError);
}

// Both generate, for neither sees the other's before it is finished; one of them puts it in place.
TEST(GeneratedSet, IsFinishedForTwoProcessesAtOnce) {
  const TemporaryFolder folder;
  const auto make = [&](char mark) {
    const GeneratedSet set("toys", options_in(folder));
    return set.once("x", "a.csv", [&](const fs::path& draft) {
      GeneratedSet::write(draft / "a.csv", std::string(1, mark));
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      GeneratedSet::write(draft / "b.csv", std::string(1, mark));
    });
  };
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    _exit(make('c').empty() ? 1 : 0);
  }
  const fs::path path = make('p');
  const std::string seen = read_text(path);
  int status = 1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(read_text(path), seen);
  EXPECT_EQ(read_text(path.parent_path() / "b.csv"), seen);
  EXPECT_EQ(entries_of(folder / "cache"), 1);
}

TEST(GeneratedSet, WorksInParallelUntilSomethingFails) {
  const TemporaryFolder folder;
  const GeneratedSet set("toys", options_in(folder));
  std::atomic<size_t> sum = 0;
  size_t told = 0;
  set.in_parallel(
      100, [&](size_t i) { sum += i; },
      [&](size_t done) {
        EXPECT_GT(done, told);
        told = done;
      });
  EXPECT_EQ(sum, 4950);
  EXPECT_EQ(told, 100);
  std::atomic<size_t> ran = 0;
  const auto fail = [&](size_t i) {
    ++ran;
    if (i == 3) {
      throw std::runtime_error("three");
    }
  };
  EXPECT_THROW(set.in_parallel(1000000, fail, [](size_t) {}), std::runtime_error);
  EXPECT_LT(ran, 1000000);
}

TEST(GeneratedSet, RefusesOptionsOutOfRange) {
  const TemporaryFolder folder;
  GeneratedSetOptions options = options_in(folder);
  options.val = 9;
  try {
    const GeneratedSet set("toys", options);
    FAIL();
  } catch (const RecipeError& error) {
    EXPECT_STREQ(error.what(), "toys: val must be from 10 to 1000000, found 9");
  }
  options.val = 10;
  options.threads = -1;
  EXPECT_THROW(GeneratedSet("toys", options), RecipeError);
}

}  // namespace
}  // namespace unbraid
