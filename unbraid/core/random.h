#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace unbraid {

/// A stream of random numbers that is a function of (seed, epoch, sample id, purpose) alone, never
/// of a thread, of time or of what was drawn elsewhere; the same on every platform. SplitMix64.
class RandomStream {
 public:
  explicit RandomStream(uint64_t state) : state_(state) {}

  /// `purpose` names what the numbers are for ("crop", "flip", …), so that drawing more of one
  /// thing never shifts another.
  static RandomStream of(uint64_t seed, uint64_t epoch, std::string_view id,
                         std::string_view purpose);

  uint64_t bits();
  /// Uniform in [0, 1).
  double uniform();
  /// Uniform in [low, high).
  double uniform(double low, double high);
  /// Uniform in {0, …, count - 1}; count > 0. Without modulo bias.
  uint64_t below(uint64_t count);
  /// Standard normal (Box-Muller).
  double normal();
  /// Puts `items` into a random order (Fisher-Yates).
  template <typename T>
  void shuffle(std::vector<T>& items) {
    for (size_t i = items.size(); i > 1; --i) {
      std::swap(items[i - 1], items[below(i)]);
    }
  }

 private:
  uint64_t state_;
};

}  // namespace unbraid
