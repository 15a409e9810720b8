#pragma once

namespace unbraid {

/// Asks what is running to stop at its next batch or sample, `signal` (SIGINT or SIGTERM) being the
/// reason; 0 takes it back. Async-signal-safe: a program makes it the handler of both.
void request_stop(int signal);

[[nodiscard]] bool stop_requested();

/// Throws Error with kInterrupted or kTerminated when a stop was asked for.
void throw_if_stopped();

}  // namespace unbraid
