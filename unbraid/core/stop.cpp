#include "unbraid/core/stop.h"

#include <csignal>

#include "unbraid/core/error.h"

namespace unbraid {
namespace {

volatile std::sig_atomic_t stop_signal = 0;

}  // namespace

void request_stop(int signal) { stop_signal = signal; }

bool stop_requested() { return stop_signal != 0; }

void throw_if_stopped() {
  if (stop_signal == SIGINT) {
    throw Error(ExitCode::kInterrupted, "stopped by SIGINT");
  }
  if (stop_signal != 0) {
    throw Error(ExitCode::kTerminated, "stopped by SIGTERM");
  }
}

}  // namespace unbraid
