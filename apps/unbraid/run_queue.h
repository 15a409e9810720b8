#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace unbraid {

/// A run that a process of its own does: `unbraid` with `arguments`.
struct QueuedRun {
  std::string title;
  std::string kind;  // what runs of one kind have in common beside the seed
  std::vector<std::string> arguments;
};

/// A run that did not end well.
struct FailedRun {
  std::string title;
  int code = 0;        // the exit code of its process, or 128 plus the signal that ended it
  std::string reason;  // the last line that it wrote
};

/// What became of a queue.
struct QueueResult {
  std::vector<FailedRun> failures;
  size_t not_begun = 0;
};

/// Does `runs` in their order, `jobs` at a time, each with `threads` threads for its arithmetic, so
/// that each has a memory and a crash of its own. Shows what is going on on standard error: a line
/// that moves on a terminal, a line for each finished run otherwise. One that fails does not hold
/// up the others, unless two kinds of runs refuse their input in the same words: then no more are
/// begun. When asked to stop (core/stop.h) it stops all of them, waits until they have
/// saved what they have, and throws as throw_if_stopped does; they stop when this process dies,
/// too.
QueueResult do_runs(const std::vector<QueuedRun>& runs, int jobs, int threads);

}  // namespace unbraid
