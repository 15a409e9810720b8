#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace unbraid {

/// The numbers of metrics.jsonl for TensorBoard: a file of TFRecords, each an Event message of
/// TensorFlow's event.proto with the wall time in seconds since 1970, the epoch as its step, and a
/// simple_value (float) for each number of a line. A tag is the number's path in the line with the
/// split behind it, "accuracy_alone/audio/val", or without where only training has it:
/// "gradient_norm/fusion", "lr". What is not finite is left out.
///
/// It is only ever added to, as a TensorBoard that is looking on expects, except that events of
/// epochs which are run again are cut off. Every failure is a StorageError naming the file.
class EventFile {
 public:
  /// Opens the event file in `folder`, or starts one, events.out.tfevents.<time>.<host>.unbraid, so
  /// that it holds the events of `lines` of metrics.jsonl and no others: the first that is missing
  /// or different is cut off with all after it, and what is then missing is added.
  EventFile(const std::filesystem::path& folder, const std::vector<nlohmann::json>& lines);

  /// Adds the event of a line, on the disk when this returns.
  void append(const nlohmann::json& line);

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

  /// The event file that is in `folder`; empty: none.
  static std::filesystem::path find(const std::filesystem::path& folder);

 private:
  std::filesystem::path path_;
};

/// CRC-32C (Castagnoli), which TFRecords use.
uint32_t crc32c(std::string_view bytes);

}  // namespace unbraid
