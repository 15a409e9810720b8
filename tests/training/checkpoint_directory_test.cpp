#include "unbraid/training/checkpoint_directory.h"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <string>
#include <thread>

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <nlohmann/json.hpp>

#include "core/storage_testing.h"
#include "unbraid/core/durable_file.h"

namespace unbraid {
namespace {

namespace fs = std::filesystem;
using testing::read_text;
using testing::run_in_child;
using testing::storage_error;
using testing::TemporaryFolder;
using testing::write_text;

// Three files that all say the same, so that a mixture of two writes shows.
void fill_with(const fs::path& staging, const std::string& content) {
  fs::create_directory(staging / "deeper");
  write_file_durably(staging / "model", std::string(20000, 'm') + content);
  write_text(staging / "state", content);
  write_text(staging / "deeper" / "rest", content);
}

void write_content(const fs::path& target, const std::string& content) {
  write_directory_atomically(target, [&](const fs::path& staging) { fill_with(staging, content); });
}

// "mixed" if the files differ.
std::string content_of(const fs::path& directory) {
  const std::string content = read_text(directory / "state");
  const bool same = read_text(directory / "deeper" / "rest") == content &&
                    read_text(directory / "model") == std::string(20000, 'm') + content;
  return same ? content : "mixed";
}

class CheckpointDirectory : public ::testing::Test {
 protected:
  std::string verification_error() {
    return storage_error([&] { verify_directory(target_); });
  }

  TemporaryFolder folder_;
  fs::path target_ = folder_.path() / "last";
};

TEST_F(CheckpointDirectory, IsWrittenReplacedAndVerified) {
  write_content(target_, "first");
  EXPECT_EQ(verification_error(), "");
  EXPECT_EQ(content_of(target_), "first");
  write_directory_atomically(target_, [&](const fs::path& staging) {
    EXPECT_EQ(staging, fs::path(target_.string() + ".tmp." + std::to_string(::getpid())));
    EXPECT_EQ(content_of(target_), "first");
    write_text(staging / "other", "");
  });
  EXPECT_EQ(verification_error(), "");
  EXPECT_FALSE(fs::exists(target_ / "model"));
  EXPECT_EQ(find_valid_directory(target_), target_);
  EXPECT_EQ(testing::entries_in(folder_.path()), 1U);
}

// The XXH3-64 of nothing and of "a" are those that xxHash's own tools print.
TEST_F(CheckpointDirectory, ListsSizesAndChecksums) {
  write_directory_atomically(target_, [](const fs::path& staging) {
    write_text(staging / "empty", "");
    fs::create_directory(staging / "sub");
    write_text(staging / "sub" / "a", "a");
  });
  const auto manifest = nlohmann::json::parse(read_text(target_ / "MANIFEST"));
  EXPECT_EQ(manifest, nlohmann::json::parse(R"({"format": 1, "files": {
      "empty": {"size": 0, "xxh3_64": "2d06800538d394c2"},
      "sub/a": {"size": 1, "xxh3_64": "e6c632b61e964e1f"}}})"));
}

TEST_F(CheckpointDirectory, TakesTrailingSlashesLinksAndMissingFolders) {
  const fs::path deep = folder_.path() / "run" / "checkpoints" / "best";
  write_content(deep / "", "a");
  EXPECT_EQ(content_of(deep), "a");
  fs::create_directory_symlink(deep, target_);
  write_content(target_, "b");
  EXPECT_TRUE(fs::is_symlink(target_));
  EXPECT_EQ(content_of(deep), "b");
  EXPECT_EQ(testing::entries_in(deep.parent_path()), 1U);
}

TEST_F(CheckpointDirectory, NamesTheBadFileAndWhatIsWrong) {
  const std::string model = (target_ / "model").string();
  const auto damaged = [&](const std::function<void()>& damage) {
    write_content(target_, "x");
    damage();
    return verification_error();
  };
  EXPECT_EQ(damaged([&] { fs::remove(model); }), model + ": missing from the checkpoint");
  EXPECT_EQ(damaged([&] { fs::resize_file(model, 7); }),
            model + ": damaged: expected 20001 bytes, found 7");
  EXPECT_EQ(damaged([&] {
              write_text(model, std::string(20001, 'm'));
            }).rfind(model + ": damaged: expected checksum ", 0),
            0U);
  EXPECT_EQ(damaged([&] {
              fs::remove(model);
              fs::create_directory(model);
            }),
            model + ": expected a regular file, found a directory");
  EXPECT_EQ(damaged([&] {
              fs::remove(model);
              ::mkfifo(model.c_str(), 0600);
            }),
            model + ": expected a regular file, found a device or a pipe");
  EXPECT_EQ(damaged([&] { write_text(target_ / "extra", "ignored"); }), "");
  EXPECT_EQ(damaged([&] { fs::remove(target_ / "MANIFEST"); }),
            (target_ / "MANIFEST").string() + ": cannot open: No such file or directory");
  fs::remove_all(target_);
  EXPECT_NE(verification_error(), "");
}

TEST_F(CheckpointDirectory, NoticesEveryFlippedByteOfASmallFile) {
  write_content(target_, "x");
  for (const char* name : {"state", "MANIFEST"}) {
    const std::string bytes = read_text(target_ / name);
    for (size_t i = 0; i < bytes.size(); ++i) {
      std::string flipped = bytes;
      flipped[i] = static_cast<char>(flipped[i] ^ 1);
      write_text(target_ / name, flipped);
      const std::string error = verification_error();
      // Between its values JSON allows other white space; nothing else may pass.
      EXPECT_TRUE(!error.empty() || flipped[i] == '\t' || bytes[i] == '\n' || bytes[i] == ' ')
          << name << " byte " << i;
      EXPECT_EQ(error.find('\n'), std::string::npos);
    }
    for (size_t size = 0; size + 1 < bytes.size(); ++size) {
      write_text(target_ / name, bytes.substr(0, size));
      EXPECT_NE(verification_error(), "") << name << " cut at " << size;
    }
    write_text(target_ / name, bytes);
    EXPECT_EQ(verification_error(), "");
  }
}

TEST_F(CheckpointDirectory, RefusesAHostileManifest) {
  write_content(target_, "x");
  write_text(folder_.path() / "outside", "");
  const std::string good = R"(":{"size":0,"xxh3_64":"2d06800538d394c2"}}})";
  for (const std::string name : {"../outside", "/etc/hostname", "", ".", "..", "a/../state", "a//b",
                                 "a\\nb", "./state", "a\\u0000b"}) {
    write_text(target_ / "MANIFEST", R"({"format":1,"files":{")" + name + good);
    const std::string error = verification_error();
    EXPECT_NE(error.find("MANIFEST: damaged: bad entry"), std::string::npos) << name << error;
  }
  for (const std::string manifest :
       {"", "null", "[]", "{}", R"({"format":2,"files":{}})", R"({"format":1})", R"({"files":{}})",
        R"({"format":1,"files":[]})", R"({"format":1,"files":{"state":1}})",
        R"({"format":1,"files":{"state":{}}})",
        R"({"format":1,"files":{"state":{"size":-1,"xxh3_64":"a"}}})",
        R"({"format":1,"files":{"state":{"size":1,"xxh3_64":3}}})"}) {
    write_text(target_ / "MANIFEST", manifest);
    EXPECT_NE(verification_error(), "") << manifest;
  }
  write_text(target_ / "MANIFEST", std::string(1 << 20, '['));
  EXPECT_NE(verification_error(), "");
  write_text(target_ / "MANIFEST", std::string((1 << 20) + 1, ' '));
  EXPECT_NE(verification_error(), "");
}

TEST_F(CheckpointDirectory, StaysWhenFillingFails) {
  write_content(target_, "old");
  EXPECT_THROW(write_directory_atomically(target_,
                                          [&](const fs::path& staging) {
                                            fill_with(staging, "new");
                                            throw std::runtime_error("stop");
                                          }),
               std::runtime_error);
  EXPECT_NE(storage_error([&] {
              write_directory_atomically(target_, [](const fs::path& staging) {
                fs::create_symlink("/etc/hostname", staging / "link");
              });
            }),
            "");
  EXPECT_NE(storage_error([&] {
              write_directory_atomically(
                  target_, [](const fs::path& staging) { write_text(staging / "\xff", ""); });
            }),
            "");
  EXPECT_EQ(content_of(target_), "old");
  EXPECT_EQ(verification_error(), "");
  EXPECT_EQ(testing::entries_in(folder_.path()), 1U);
}

TEST_F(CheckpointDirectory, NeverReplacesAFile) {
  write_text(target_, "precious");
  EXPECT_EQ(storage_error([&] { write_content(target_, "new"); }),
            target_.string() + ": cannot be replaced: expected a directory, found a file");
  EXPECT_EQ(
      storage_error([&] { write_content(target_ / "below", "new"); }).rfind(target_.string(), 0),
      0U);
  EXPECT_EQ(read_text(target_), "precious");
}

TEST_F(CheckpointDirectory, FallsBackToTheOldOne) {
  const fs::path old = folder_.path() / "last.old";
  write_content(target_, "old");
  fs::rename(target_, old);
  EXPECT_EQ(find_valid_directory(target_), old);
  write_content(target_, "new");
  EXPECT_EQ(find_valid_directory(target_), target_);
  EXPECT_FALSE(fs::exists(old));
  fs::resize_file(target_ / "model", 1);
  EXPECT_EQ(storage_error([&] { find_valid_directory(target_); }),
            (target_ / "model").string() + ": damaged: expected 20003 bytes, found 1");
}

TEST_F(CheckpointDirectory, RemovesWhatDeadProcessesLeft) {
  const pid_t dead = testing::start_child([] { return 0; });
  testing::wait_for_child(dead);
  fs::create_directories(target_.string() + ".tmp." + std::to_string(dead) + "/deeper");
  fs::create_directories(target_.string() + ".tmp." + std::to_string(::getpid()) + "/deeper");
  fs::create_directories(target_.string() + ".tmp.1");
  write_content(target_, "new");
  EXPECT_EQ(testing::entries_in(folder_.path()), 2U);
  EXPECT_TRUE(fs::exists(target_.string() + ".tmp.1"));
}

TEST_F(CheckpointDirectory, IsReplacedWhereDirectoriesCannotBeExchanged) {
  write_content(target_, "old");
  ASSERT_EQ(run_in_child([&] {
              if (!testing::break_system_call(SYS_renameat2, EINVAL)) {
                return 77;
              }
              write_content(target_, "new");
              write_content(target_, "newer");
              return 0;
            }) % 77,
            0);
  EXPECT_EQ(testing::entries_in(folder_.path()), 1U);
  EXPECT_EQ(verification_error(), "");
}

TEST_F(CheckpointDirectory, SurvivesFailingSystemCalls) {
  write_content(target_, "old");
  for (const int call : {SYS_fsync, SYS_rename, SYS_renameat2, SYS_write, SYS_mkdir, SYS_pread64}) {
    const int status = run_in_child([&] {
      if (!testing::break_system_call(call, EIO)) {
        return 5;
      }
      write_directory_atomically(target_, [](const fs::path& staging) {
        write_file_durably(staging / "model", std::string(200000, 'x'));
      });
      return 0;
    });
    EXPECT_EQ(status, 5) << call;
    EXPECT_EQ(content_of(find_valid_directory(target_)), "old") << call;
    EXPECT_EQ(testing::entries_in(folder_.path()), 1U) << call;
  }
}

TEST_F(CheckpointDirectory, SurvivesAFileSizeLimit) {
  write_content(target_, "old");
  for (const size_t limit : {0, 50, 200, 10000}) {
    EXPECT_EQ(run_in_child([&] {
                testing::limit_file_size(limit);
                write_directory_atomically(target_, [](const fs::path& staging) {
                  write_file_durably(staging / "model", std::string(20000, 'x'));
                });
                return 0;
              }),
              5);
    EXPECT_EQ(content_of(find_valid_directory(target_)), "old");
  }
  EXPECT_EQ(testing::entries_in(folder_.path()), 1U);
}

TEST_F(CheckpointDirectory, SurvivesAFullDisk) {
  const fs::path disk = folder_.path() / "disk";
  fs::create_directory(disk);
  if (::mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=256k") != 0) {
    GTEST_SKIP() << "cannot mount a file system here";
  }
  const fs::path target = disk / "last";
  write_content(target, "old");
  std::string error;
  for (size_t size = 10000; size < 400000; size += 10000) {
    error = storage_error([&] {
      write_directory_atomically(target, [&](const fs::path& staging) {
        fill_with(staging, "old");
        write_file_durably(staging / "more", std::string(size, 'x'));
      });
    });
    EXPECT_EQ(content_of(find_valid_directory(target)), "old");
    EXPECT_EQ(testing::entries_in(disk), 1U);
  }
  EXPECT_NE(error.find("disk/last/more: cannot write: No space left on device"), std::string::npos)
      << error;
  ::umount(disk.c_str());
}

// A reader looks all the time while a writer replaces the directory back to back.
TEST_F(CheckpointDirectory, IsValidAtEveryMomentForAReader) {
  write_content(target_, "0");
  const pid_t writer = testing::start_child([&] {
    for (int i = 1; i <= 40; ++i) {
      write_content(target_, std::to_string(i));
    }
    return 0;
  });
  int checks = 0;
  while (::waitpid(writer, nullptr, WNOHANG) == 0) {
    EXPECT_EQ(find_valid_directory(target_), target_);
    ++checks;
  }
  EXPECT_GT(checks, 0);
  EXPECT_EQ(content_of(target_), "40");
}

// Kills a process that writes back to back, at varied moments.
void kill_writers(const fs::path& target, bool exchange, int kills) {
  write_content(target, "0");
  int last = 0;
  for (int kill = 0; kill < kills; ++kill) {
    const pid_t writer = testing::start_child([&] {
      if (!exchange) {
        testing::break_system_call(SYS_renameat2, ENOSYS);
      }
      for (int i = last + 1;; ++i) {
        write_content(target, std::to_string(i));
      }
      return 0;
    });
    const bool wait_for_one = kill % 2 == 0;
    while (wait_for_one && read_text(target / "state") == std::to_string(last)) {
      std::this_thread::yield();
    }
    std::this_thread::sleep_for(std::chrono::microseconds(500 + 1237 * (kill % 11)));
    ::kill(writer, SIGKILL);
    ASSERT_EQ(testing::wait_for_child(writer), -SIGKILL);
    const fs::path valid = find_valid_directory(target);
    const std::string content = content_of(valid);
    ASSERT_NE(content, "mixed");
    ASSERT_GE(std::stoi(content), last + (wait_for_one ? 1 : 0));
    last = std::stoi(content);
  }
  write_content(target, "end");
  EXPECT_EQ(content_of(target), "end");
  EXPECT_EQ(testing::entries_in(target.parent_path()), 1U);
}

TEST_F(CheckpointDirectory, SurvivesKills) { kill_writers(target_, /*exchange=*/true, 30); }

TEST_F(CheckpointDirectory, SurvivesKillsWithoutExchange) {
  kill_writers(target_, /*exchange=*/false, 30);
}

}  // namespace
}  // namespace unbraid
