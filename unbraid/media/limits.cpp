#include "unbraid/media/limits.h"

#include <fmt/format.h>

#include "unbraid/core/error.h"
#include "unbraid/core/stop.h"

namespace unbraid {
namespace {

thread_local const DecodeBudget* current = nullptr;

DecodeBudget::Clock::time_point after(double seconds) {
  using Duration = DecodeBudget::Clock::duration;
  return DecodeBudget::Clock::now() +
         std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
}

}  // namespace

DecodeBudget::DecodeBudget(const DecodeLimits& limits)
    : limits_(limits), deadline_(after(limits.seconds)), outer_(current) {
  current = this;
}

DecodeBudget::~DecodeBudget() { current = outer_; }

DecodeLimits DecodeBudget::limits() {
  return current == nullptr ? DecodeLimits() : current->limits_;
}

DecodeBudget::Clock::time_point DecodeBudget::deadline() {
  return current == nullptr ? after(DecodeLimits().seconds) : current->deadline_;
}

void DecodeBudget::require_memory(int64_t bytes, const std::string& path) {
  if (bytes > limits().bytes) {
    throw DataError(fmt::format("{}: expected at most {} bytes decoded (decode_mb), found {}", path,
                                limits().bytes, bytes));
  }
}

void DecodeBudget::require_time(Clock::time_point deadline, const std::string& path) {
  throw_if_stopped();
  if (Clock::now() > deadline) {
    throw DataError(fmt::format("{}: took longer than {} seconds to read (decode_seconds)", path,
                                limits().seconds));
  }
}

}  // namespace unbraid
