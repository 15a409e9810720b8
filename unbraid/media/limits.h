#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace unbraid {

/// What decoding one cell may take, whatever its file says and holds.
struct DecodeLimits {
  int64_t bytes = int64_t{1} << 30;  // of what is decoded
  double seconds = 60.0;
};

/// While it lives, what its thread decodes is held to `limits`, the time counted from now on.
/// Without any, to the defaults, the time counted from the opening of each file.
class DecodeBudget {
 public:
  using Clock = std::chrono::steady_clock;

  explicit DecodeBudget(const DecodeLimits& limits);
  ~DecodeBudget();
  DecodeBudget(const DecodeBudget&) = delete;
  DecodeBudget& operator=(const DecodeBudget&) = delete;

  /// The limits of this thread.
  static DecodeLimits limits();
  /// When the time of this thread is over.
  static Clock::time_point deadline();
  /// Throws DataError when `bytes` for what is decoded of `path` are too many.
  static void require_memory(int64_t bytes, const std::string& path);
  /// Throws DataError when `deadline` has passed; StoppedError when the program is to stop.
  static void require_time(Clock::time_point deadline, const std::string& path);

 private:
  DecodeLimits limits_;
  Clock::time_point deadline_;
  const DecodeBudget* outer_;
};

}  // namespace unbraid
