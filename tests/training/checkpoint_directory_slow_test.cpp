#include <csignal>
#include <functional>
#include <set>
#include <string>

#include <gtest/gtest.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "core/storage_testing.h"
#include "unbraid/core/durable_file.h"
#include "unbraid/training/checkpoint_directory.h"

namespace unbraid {
namespace {

namespace fs = std::filesystem;

void write_content(const fs::path& target, const std::string& content) {
  write_directory_atomically(target, [&](const fs::path& staging) {
    write_file_durably(staging / "model", content);
    testing::write_text(staging / "state", content);
  });
}

enum class Outcome { kFinished, kKilled, kNotTraceable };

// Runs `action` in a child and calls `before_call(child)` right before each of its system calls,
// until that says false, upon which the child is killed.
Outcome trace(const std::function<void()>& action, const std::function<bool(pid_t)>& before_call) {
  const pid_t child = testing::start_child([&] {
    if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) {
      return 77;
    }
    ::raise(SIGSTOP);
    action();
    return 0;
  });
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WIFEXITED(status)) {
    return Outcome::kNotTraceable;
  }
  ::ptrace(PTRACE_SETOPTIONS, child, nullptr, PTRACE_O_TRACESYSGOOD);
  // Each call stops the child twice: before it and after it.
  for (bool before = true;; before = !before) {
    ::ptrace(PTRACE_SYSCALL, child, nullptr, nullptr);
    ::waitpid(child, &status, 0);
    if (WIFEXITED(status)) {
      EXPECT_EQ(WEXITSTATUS(status), 0);
      return Outcome::kFinished;
    }
    if (before && !before_call(child)) {
      ::kill(child, SIGKILL);
      ::waitpid(child, &status, 0);
      return Outcome::kKilled;
    }
  }
}

Outcome run_until_call(const std::function<void()>& action, int call) {
  return trace(action, [&](pid_t) { return --call > 0; });
}

void kill_before_every_call(bool exchange) {
  const testing::TemporaryFolder folder;
  const fs::path target = folder.path() / "last";
  write_content(target, "0");
  int current = 0;
  int call = 1;
  for (;; ++call) {
    const Outcome outcome = run_until_call(
        [&] {
          if (!exchange) {
            testing::break_system_call(SYS_renameat2, EINVAL);
          }
          write_content(target, std::to_string(current + 1));
        },
        call);
    if (outcome == Outcome::kNotTraceable) {
      GTEST_SKIP() << "cannot trace a process here";
    }
    const fs::path valid = find_valid_directory(target);
    const std::string content = testing::read_text(valid / "state");
    ASSERT_EQ(testing::read_text(valid / "model"), content) << "call " << call;
    ASSERT_TRUE(content == std::to_string(current) || content == std::to_string(current + 1))
        << "call " << call << ": " << content;
    current = std::stoi(content);
    if (outcome == Outcome::kFinished) {
      break;
    }
  }
  EXPECT_GT(call, 50);
  EXPECT_GT(current, 1);  // some were killed after the new content was in place
  EXPECT_EQ(testing::entries_in(folder.path()), 1U);
  ::testing::Test::RecordProperty("system_calls", call);
}

TEST(CheckpointDirectorySlow, SurvivesAKillBeforeEverySystemCall) {
  kill_before_every_call(/*exchange=*/true);
}

TEST(CheckpointDirectorySlow, SurvivesAKillBeforeEverySystemCallWithoutExchange) {
  kill_before_every_call(/*exchange=*/false);
}

// A valid ".old" beside a damaged target: the damaged one gives way, never the valid one.
TEST(CheckpointDirectorySlow, KeepsAValidOldOneBesideADamagedOne) {
  for (int call = 1;; ++call) {
    const testing::TemporaryFolder folder;
    const fs::path target = folder.path() / "last";
    write_content(target, "damaged");
    fs::rename(target, folder.path() / "last.old");
    write_content(folder.path() / "other", "old");
    fs::rename(folder.path() / "last.old", target);
    fs::rename(folder.path() / "other", folder.path() / "last.old");
    fs::remove(target / "model");
    const Outcome outcome = run_until_call(
        [&] {
          testing::break_system_call(SYS_renameat2, EINVAL);
          write_content(target, "new");
        },
        call);
    if (outcome == Outcome::kNotTraceable) {
      GTEST_SKIP() << "cannot trace a process here";
    }
    const std::string content = testing::read_text(find_valid_directory(target) / "model");
    if (outcome == Outcome::kFinished) {
      EXPECT_EQ(content, "new");
      break;
    }
    ASSERT_TRUE(content == "old" || content == "new") << "call " << call << ": " << content;
  }
}

TEST(CheckpointDirectorySlow, SyncsEveryFileAndFolder) {
  const testing::TemporaryFolder folder;
  const fs::path target = folder.path() / "last";
  write_content(target, "old");
  std::set<std::string> synced;
  std::string staging;
  const Outcome outcome = trace(
      [&] {
        write_directory_atomically(target, [](const fs::path& directory) {
          testing::write_text(directory / "file", "x");
          fs::create_directory(directory / "folder");
          testing::write_text(directory / "folder" / "file", "x");
        });
      },
      [&](pid_t child) {
        __ptrace_syscall_info info{};
        ::ptrace(PTRACE_GET_SYSCALL_INFO, child, sizeof(info), &info);
        if (info.entry.nr == SYS_fsync) {
          const std::string link =
              "/proc/" + std::to_string(child) + "/fd/" + std::to_string(info.entry.args[0]);
          synced.insert(fs::read_symlink(link));
          staging = target.string() + ".tmp." + std::to_string(child);
        }
        return true;
      });
  if (outcome == Outcome::kNotTraceable || synced.empty()) {
    GTEST_SKIP() << "cannot trace a process here";
  }
  const std::string process = staging.substr(staging.rfind('.'));
  EXPECT_EQ(synced, (std::set<std::string>{staging, staging + "/file", staging + "/folder",
                                           staging + "/folder/file",
                                           staging + "/MANIFEST.tmp" + process, folder.path()}));
}

}  // namespace
}  // namespace unbraid
