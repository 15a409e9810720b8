#include "unbraid/training/event_file.h"

#include <array>
#include <bit>
#include <chrono>
#include <cmath>
#include <limits>
#include <string>

#include <fmt/format.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include "unbraid/core/durable_file.h"

namespace unbraid {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr uint64_t kMaxBytes = uint64_t{1} << 32;
constexpr std::string_view kPrefix = "events.out.tfevents.";
constexpr std::string_view kSuffix = ".unbraid";
constexpr size_t kBeforeWallTime = 13;  // length, its checksum, the field's number

constexpr std::array<uint32_t, 256> make_crc_table() {
  constexpr uint32_t kReversedPolynomial = 0x82F63B78;
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < table.size(); ++byte) {
    uint32_t rest = byte;
    for (int bit = 0; bit < 8; ++bit) {
      rest = (rest & 1) != 0 ? (rest >> 1) ^ kReversedPolynomial : rest >> 1;
    }
    table[byte] = rest;
  }
  return table;
}

template <typename Unsigned>
std::string little_endian(Unsigned value) {
  std::string bytes;
  for (size_t i = 0; i < sizeof(Unsigned); ++i) {
    bytes += static_cast<char>(value >> (8 * i) & 0xFF);
  }
  return bytes;
}

// Of protocol buffers: https://protobuf.dev/programming-guides/encoding/
enum WireType : uint64_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

std::string varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) {
    bytes += static_cast<char>(0x80 | (value & 0x7F));
  }
  return bytes + static_cast<char>(value);
}

std::string field(uint64_t number, WireType type) { return varint(number << 3 | type); }

std::string bytes_field(uint64_t number, std::string_view content) {
  return field(number, kBytes) + varint(content.size()) + std::string(content);
}

std::string wall_time_field(double seconds) {
  return field(1, kFixed64) + little_endian(std::bit_cast<uint64_t>(seconds));
}

std::string tfrecord(const std::string& content) {
  const auto masked = [](std::string_view bytes) {
    const uint32_t crc = crc32c(bytes);
    return little_endian(static_cast<uint32_t>((crc >> 15 | crc << 17) + 0xA282EAD8));
  };
  const std::string length = little_endian(uint64_t{content.size()});
  return length + masked(length) + content + masked(content);
}

std::string first_record(double wall_time) {
  return tfrecord(wall_time_field(wall_time) + bytes_field(3, "brain.Event:2"));
}

bool is_of_training_alone(const std::string& key) {
  return key == "gradient_norm" || key == "method" || key == "lr" || key == "seconds" ||
         key == "samples_per_second";
}

/// Adds a Summary.Value for each number at and below `value`.
void add_values(std::string& summary, const std::string& tag, const std::string& split,
                const json& value) {
  if (value.is_object()) {
    for (const auto& [key, inner] : value.items()) {
      add_values(summary, fmt::format("{}/{}", tag, key), split, inner);
    }
  } else if (value.is_number() &&
             std::abs(value.get<double>()) <= std::numeric_limits<float>::max()) {
    summary += bytes_field(
        1, bytes_field(1, fmt::format("{}{}", tag, split)) + field(2, kFixed32) +
               little_endian(std::bit_cast<uint32_t>(static_cast<float>(value.get<double>()))));
  }
}

std::string record_of(const json& line, double wall_time) {
  const std::string split = fmt::format("/{}", line.value("split", ""));
  std::string summary;
  for (const auto& [key, value] : line.items()) {
    if (key != "epoch" && key != "split") {
      add_values(summary, key, is_of_training_alone(key) ? "" : split, value);
    }
  }
  return tfrecord(wall_time_field(wall_time) + field(2, kVarint) +
                  varint(line.value("epoch", uint64_t{0})) + bytes_field(5, summary));
}

double now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 && name[0] != 0 ? name.data() : "host";
}

/// The wall time of the record at `offset`; 0 where none begins there.
double wall_time_at(const std::string& content, size_t offset) {
  uint64_t bits = 0;
  if (offset + kBeforeWallTime + sizeof(bits) <= content.size()) {
    for (size_t i = 0; i < sizeof(bits); ++i) {
      bits |= uint64_t{static_cast<unsigned char>(content[offset + kBeforeWallTime + i])}
              << (8 * i);
    }
  }
  return std::bit_cast<double>(bits);
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  static constexpr std::array<uint32_t, 256> kTable = make_crc_table();
  uint32_t crc = ~uint32_t{0};
  for (const char byte : bytes) {
    crc = kTable[(crc ^ static_cast<unsigned char>(byte)) & 0xFF] ^ crc >> 8;
  }
  return ~crc;
}

EventFile::EventFile(const fs::path& folder, const std::vector<json>& lines) : path_(find(folder)) {
  std::string content;
  if (path_.empty()) {
    path_ = folder / fmt::format("{}{:010d}.{}{}", kPrefix, static_cast<int64_t>(now()),
                                 host_name(), kSuffix);
  } else {
    content = read_whole_file(path_, kMaxBytes);
  }
  size_t kept = 0;
  std::string missing;
  const auto expect = [&](const auto& record_at) {
    if (missing.empty()) {
      const std::string expected = record_at(wall_time_at(content, kept));
      if (content.compare(kept, expected.size(), expected) == 0) {
        kept += expected.size();
        return;
      }
    }
    missing += record_at(now());
  };
  expect(first_record);
  for (const json& line : lines) {
    expect([&](double wall_time) { return record_of(line, wall_time); });
  }
  if (kept < content.size()) {
    cut_durably(path_, kept);
  }
  if (!missing.empty()) {
    append_durably(path_, missing);
  }
}

void EventFile::append(const json& line) { append_durably(path_, record_of(line, now())); }

fs::path EventFile::find(const fs::path& folder) {
  fs::path found;
  std::error_code failure;
  for (fs::directory_iterator entry(folder, failure), end; !failure && entry != end;
       entry.increment(failure)) {
    const std::string name = entry->path().filename().string();
    if (name.starts_with(kPrefix) && name.ends_with(kSuffix) && entry->path() > found) {
      found = entry->path();
    }
  }
  return found;
}

}  // namespace unbraid
