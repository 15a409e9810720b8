#include <csignal>
#include <functional>
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

// Runs `action` in a child and kills it right before its system call number `call`.
Outcome run_until_call(const std::function<void()>& action, int call) {
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
  // Each call stops the child twice: before it and after it.
  for (int stop = 0; stop < 2 * call - 1; ++stop) {
    ::ptrace(PTRACE_SYSCALL, child, nullptr, nullptr);
    ::waitpid(child, &status, 0);
    if (WIFEXITED(status)) {
      EXPECT_EQ(WEXITSTATUS(status), 0);
      return Outcome::kFinished;
    }
  }
  ::kill(child, SIGKILL);
  ::waitpid(child, &status, 0);
  return Outcome::kKilled;
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

}  // namespace
}  // namespace unbraid
