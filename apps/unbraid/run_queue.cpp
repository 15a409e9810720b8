#include "apps/unbraid/run_queue.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <iostream>
#include <map>
#include <set>
#include <string_view>

#include <fmt/format.h>

#include "apps/unbraid/commands.h"
#include "apps/unbraid/progress.h"
#include "unbraid/core/error.h"
#include "unbraid/core/stop.h"

namespace unbraid {
namespace {

constexpr int kPollMilliseconds = 200;
constexpr int kCannotStart = 127;

/// A process that runs this program again.
struct Child {
  const QueuedRun* run = nullptr;
  pid_t process = -1;
  int output = -1;   // its standard output and error
  std::string line;  // that it has begun
  std::string last;  // that it has ended
  std::chrono::steady_clock::time_point started;
};

/// Between fork and exec only calls that a signal handler may make.
[[noreturn]] void become(char* const* arguments, char* const* environment, int output,
                         pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) {
    ::_exit(kCannotStart);  // it died before the line above
  }
  const int nothing = ::open("/dev/null", O_RDONLY);
  ::dup2(nothing, STDIN_FILENO);
  ::dup2(output, STDOUT_FILENO);
  ::dup2(output, STDERR_FILENO);
  ::execve("/proc/self/exe", arguments, environment);
  ::_exit(kCannotStart);
}

std::vector<std::string> environment_with(int threads) {
  std::vector<std::string> variables;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (std::strncmp(*variable, "OMP_NUM_THREADS=", 16) != 0) {
      variables.emplace_back(*variable);
    }
  }
  variables.push_back(fmt::format("OMP_NUM_THREADS={}", threads));
  return variables;
}

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  pointers.reserve(texts.size() + 1);
  for (std::string& text : texts) {
    pointers.push_back(text.data());
  }
  pointers.push_back(nullptr);
  return pointers;
}

Child start(const QueuedRun& run, int threads) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    throw StorageError(fmt::format("cannot make a pipe: {}", std::strerror(errno)));
  }
  std::vector<std::string> arguments{"unbraid"};
  arguments.insert(arguments.end(), run.arguments.begin(), run.arguments.end());
  auto environment = environment_with(threads);
  const auto argument_pointers = pointers_to(arguments);
  const auto environment_pointers = pointers_to(environment);
  const pid_t parent = ::getpid();
  const pid_t process = ::fork();
  if (process < 0) {
    throw StorageError(fmt::format("cannot start a process: {}", std::strerror(errno)));
  }
  if (process == 0) {
    become(argument_pointers.data(), environment_pointers.data(), ends[1], parent);
  }
  ::close(ends[1]);
  return {&run, process, ends[0], "", "", std::chrono::steady_clock::now()};
}

/// Reads what it wrote; false at its end.
bool read_from(Child& child) {
  std::array<char, 4096> buffer{};
  const ssize_t count = ::read(child.output, buffer.data(), buffer.size());
  if (count < 0) {
    return errno == EINTR || errno == EAGAIN;
  }
  for (ssize_t i = 0; i < count; ++i) {
    const char byte = buffer[static_cast<size_t>(i)];
    if (byte == '\n') {
      child.last = std::exchange(child.line, "");
    } else {
      child.line += byte;
    }
  }
  return count > 0;
}

int exit_code_of(const Child& child) {
  int status = 0;
  while (::waitpid(child.process, &status, 0) < 0 && errno == EINTR) {
  }
  constexpr int kSignalled = 128;
  return WIFEXITED(status) ? WEXITSTATUS(status) : kSignalled + WTERMSIG(status);
}

class RunQueue {
 public:
  RunQueue(const std::vector<QueuedRun>& runs, int jobs, int threads)
      : runs_(runs), jobs_(static_cast<size_t>(jobs)), threads_(threads) {}

  QueueResult work() {
    while ((next_ < runs_.size() && !given_up_) || !children_.empty()) {
      while (next_ < runs_.size() && !given_up_ && children_.size() < jobs_ && !stop_requested()) {
        children_.push_back(start(runs_[next_++], threads_));
      }
      if (stop_requested()) {
        stop();
      }
      listen();
      draw();
    }
    return {failures_, runs_.size() - next_};
  }

 private:
  void listen() {
    std::vector<pollfd> outputs;
    for (const Child& child : children_) {
      outputs.push_back({child.output, POLLIN, 0});
    }
    if (::poll(outputs.data(), outputs.size(), kPollMilliseconds) <= 0) {
      return;  // nothing was written, or a signal came
    }
    for (size_t i = outputs.size(); i-- > 0;) {
      if (outputs[i].revents != 0 && !read_from(children_[i])) {
        finish(children_[i]);
        children_.erase(children_.begin() + static_cast<std::ptrdiff_t>(i));
      }
    }
  }

  void finish(Child& child) {
    ::close(child.output);
    const int code = exit_code_of(child);
    ++finished_;
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - child.started).count();
    if (code == 0) {
      say(fmt::format("{}/{}  {}  {:.1f} s", finished_, runs_.size(), child.run->title, seconds));
      return;
    }
    std::string reason = child.line.empty() ? child.last : child.line;
    constexpr std::string_view kProgram = "unbraid: ";
    if (reason.starts_with(kProgram)) {
      reason.erase(0, kProgram.size());
    }
    note_refusal(*child.run, code, reason);
    failures_.push_back({child.run->title, code, reason});
    say(fmt::format("{}/{}  {}  failed with exit code {}: {}", finished_, runs_.size(),
                    child.run->title, code, on_one_line(reason)));
  }

  /// A fault of the data, say, would stop every run.
  void note_refusal(const QueuedRun& run, int code, const std::string& reason) {
    if (code >= static_cast<int>(ExitCode::kUsage) &&
        code <= static_cast<int>(ExitCode::kStorage)) {
      auto& kinds = refused_[reason];
      kinds.insert(run.kind);
      given_up_ = given_up_ || kinds.size() > 1;
    }
  }

  void stop() {
    for (const Child& child : children_) {
      ::kill(child.process, SIGTERM);
    }
    for (Child& child : children_) {
      while (read_from(child)) {
      }
      ::close(child.output);
      exit_code_of(child);
    }
    children_.clear();
    throw_if_stopped();
  }

  void say(const std::string& text) const {
    std::cerr << (terminal_ ? kClearLine : "") << text << std::endl;
  }

  void draw() const {
    if (!terminal_ || children_.empty()) {
      return;
    }
    std::string text = fmt::format("{}/{}", finished_, runs_.size());
    for (const Child& child : children_) {
      const size_t epoch = child.last.find("epoch ");
      text += "  |  " + child.run->title;
      if (epoch != std::string::npos) {
        text += " " + child.last.substr(epoch, child.last.find("  ", epoch) - epoch);
      }
    }
    std::cerr << kClearLine << on_one_line(text) << std::flush;
  }

  const std::vector<QueuedRun>& runs_;
  size_t jobs_;
  int threads_;
  bool terminal_ = on_terminal();
  size_t next_ = 0;
  size_t finished_ = 0;
  std::vector<Child> children_;
  std::vector<FailedRun> failures_;
  std::map<std::string, std::set<std::string>> refused_;  // kinds of runs by their words
  bool given_up_ = false;
};

}  // namespace

QueueResult do_runs(const std::vector<QueuedRun>& runs, int jobs, int threads) {
  return RunQueue(runs, jobs, threads).work();
}

}  // namespace unbraid
