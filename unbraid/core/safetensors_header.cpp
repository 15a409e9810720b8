#include "unbraid/core/safetensors_header.h"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "unbraid/core/error.h"

namespace unbraid {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kMetadataKey = "__metadata__";
constexpr size_t kMaxDimensions = 64;
constexpr std::array<std::pair<std::string_view, uint64_t>, 10> kItemSizes = {{{"F64", 8},
                                                                               {"F32", 4},
                                                                               {"F16", 2},
                                                                               {"BF16", 2},
                                                                               {"I64", 8},
                                                                               {"I32", 4},
                                                                               {"I16", 2},
                                                                               {"I8", 1},
                                                                               {"U8", 1},
                                                                               {"BOOL", 1}}};

// Takes the header as a stream of JSON events, so that what does not belong into it is refused
// where it stands, before anything is built from it.
class HeaderReader : public nlohmann::json_sax<Json> {
 public:
  explicit HeaderReader(const std::string& path) : path_(path) {}

  SafetensorsHeader take() { return std::move(header_); }

  bool null() override { refuse("null"); }
  bool boolean(bool /*value*/) override { refuse("a boolean"); }
  bool number_integer(int64_t /*value*/) override { refuse("a negative number"); }
  bool number_float(double /*value*/, const std::string& text) override {
    refuse("the number " + printable(text));
  }
  bool binary(Json::binary_t& /*value*/) override { refuse("binary data"); }

  bool number_unsigned(uint64_t value) override {
    if (place_ != Place::kNumbers) {
      refuse("a number");
    }
    if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      refuse(fmt::format("the number {}", value));
    }
    if (numbers_.size() == kMaxDimensions) {
      refuse(fmt::format("more than {} numbers", kMaxDimensions));
    }
    numbers_.push_back(static_cast<int64_t>(value));
    return true;
  }

  bool string(std::string& value) override {
    if (place_ == Place::kMetadata) {
      header_.metadata[key_] = std::move(value);
    } else if (place_ == Place::kTensor && key_ == "dtype") {
      header_.entries.back().dtype = std::move(value);
    } else {
      refuse("the text " + printable(value));
    }
    return true;
  }

  bool key(std::string& value) override {
    key_ = std::move(value);
    if (place_ == Place::kTensor && key_ != "dtype" && key_ != "shape" && key_ != "data_offsets") {
      refuse("this key");
    }
    if (!keys_[place_ == Place::kNames ? 0 : 1].insert(key_).second) {
      refuse("this key a second time");
    }
    return true;
  }

  bool start_object(std::size_t /*size*/) override {
    if (place_ == Place::kStart) {
      place_ = Place::kNames;
    } else if (place_ == Place::kNames) {
      place_ = key_ == kMetadataKey ? Place::kMetadata : Place::kTensor;
      keys_[1].clear();
      if (place_ == Place::kTensor) {
        header_.entries.emplace_back().name = key_;
      }
    } else {
      refuse("an object");
    }
    return true;
  }

  bool end_object() override {
    if (place_ == Place::kTensor && keys_[1].size() != 3) {
      throw StorageError(
          fmt::format("{}: tensor {}: expected dtype, shape and data_offsets, found only {}", path_,
                      printable(header_.entries.back().name), fmt::join(keys_[1], ", ")));
    }
    place_ = place_ == Place::kNames ? Place::kStart : Place::kNames;
    return true;
  }

  bool start_array(std::size_t /*size*/) override {
    if (place_ != Place::kTensor || key_ == "dtype") {
      refuse("a list");
    }
    place_ = Place::kNumbers;
    numbers_.clear();
    return true;
  }

  bool end_array() override {
    SafetensorsEntry& entry = header_.entries.back();
    if (key_ == "shape") {
      entry.shape = numbers_;
    } else if (numbers_.size() == 2) {
      entry.begin = static_cast<uint64_t>(numbers_[0]);
      entry.end = static_cast<uint64_t>(numbers_[1]);
    } else {
      refuse(fmt::format("{} numbers", numbers_.size()));
    }
    place_ = Place::kTensor;
    return true;
  }

  bool parse_error(std::size_t position, const std::string& /*token*/,
                   const Json::exception& /*error*/) override {
    throw StorageError(
        fmt::format("{}: the header is not valid JSON at its byte {}", path_, position));
  }

 private:
  enum class Place { kStart, kNames, kMetadata, kTensor, kNumbers };

  [[noreturn]] void refuse(const std::string& found) const {
    std::string where = "header";
    std::string expected = "an object of tensors";
    if (place_ == Place::kNames) {
      where = printable(key_);
      expected = "an object, once per name";
    } else if (place_ == Place::kMetadata) {
      where = fmt::format("{} {}", kMetadataKey, printable(key_));
      expected = "a text, once per key";
    } else if (place_ == Place::kTensor || place_ == Place::kNumbers) {
      where = fmt::format("tensor {}: {}", printable(header_.entries.back().name), printable(key_));
      expected = key_ == "dtype"          ? "a text"
                 : key_ == "shape"        ? "a list of sizes"
                 : key_ == "data_offsets" ? "two positions"
                                          : "dtype, shape and data_offsets, each once";
    }
    throw StorageError(fmt::format("{}: {}: expected {}, found {}", path_, where, expected, found));
  }

  const std::string& path_;
  SafetensorsHeader header_;
  Place place_ = Place::kStart;
  std::string key_;
  std::array<std::set<std::string>, 2> keys_;  // of the header, of the object in it
  std::vector<int64_t> numbers_;
};

// Nothing for a size that no file can have. Zero dimensions count as one there: LibTorch multiplies
// the others for the strides.
std::optional<uint64_t> byte_size(const SafetensorsEntry& entry, uint64_t item_size) {
  int64_t bytes = static_cast<int64_t>(item_size);
  bool empty = false;
  for (const int64_t size : entry.shape) {
    empty = empty || size == 0;
    if (__builtin_mul_overflow(bytes, std::max<int64_t>(size, 1), &bytes)) {
      return std::nullopt;
    }
  }
  return empty ? 0 : static_cast<uint64_t>(bytes);
}

void check_entry(const SafetensorsEntry& entry, const std::string& path) {
  const auto fail = [&](const std::string& what) {
    throw StorageError(fmt::format("{}: tensor {}: {}", path, printable(entry.name), what));
  };
  const uint64_t item_size = safetensors_item_size(entry.dtype);
  if (item_size == 0) {
    std::vector<std::string_view> known;
    known.reserve(kItemSizes.size());
    for (const auto& [name, size] : kItemSizes) {
      known.push_back(name);
    }
    fail(fmt::format("expected a dtype of {}, found {}", fmt::join(known, " "),
                     printable(entry.dtype)));
  }
  const std::optional<uint64_t> bytes = byte_size(entry, item_size);
  if (!bytes) {
    fail(fmt::format("shape [{}] is larger than any file", fmt::join(entry.shape, ", ")));
  }
  if (entry.end < entry.begin || entry.end - entry.begin != *bytes) {
    fail(fmt::format("shape [{}] of {} takes {} bytes, data_offsets are [{}, {}]",
                     fmt::join(entry.shape, ", "), entry.dtype, *bytes, entry.begin, entry.end));
  }
}

void check_layout(const std::vector<SafetensorsEntry>& entries, uint64_t data_size,
                  const std::string& path) {
  std::vector<const SafetensorsEntry*> sorted;
  sorted.reserve(entries.size());
  for (const SafetensorsEntry& entry : entries) {
    sorted.push_back(&entry);
  }
  std::sort(sorted.begin(), sorted.end(), [](const auto* left, const auto* right) {
    return std::pair(left->begin, left->end) < std::pair(right->begin, right->end);
  });
  uint64_t position = 0;
  for (const SafetensorsEntry* entry : sorted) {
    if (entry->begin != position) {
      throw StorageError(
          fmt::format("{}: tensor {}: data_offsets start at {}, expected {}: tensors must follow "
                      "each other without gap or overlap",
                      path, printable(entry->name), entry->begin, position));
    }
    position = entry->end;
  }
  if (position != data_size) {
    throw StorageError(fmt::format("{}: the header describes {} bytes of data, the file has {}{}",
                                   path, position, data_size,
                                   position > data_size ? " (truncated?)" : ""));
  }
}

}  // namespace

std::string printable(const std::string& text) {
  constexpr size_t kLongest = 100;
  const std::string shown = text.size() > kLongest ? text.substr(0, kLongest) + "..." : text;
  return Json(shown).dump(-1, ' ', true, Json::error_handler_t::replace);
}

uint64_t safetensors_item_size(std::string_view dtype) {
  const auto* const found = std::find_if(kItemSizes.begin(), kItemSizes.end(),
                                         [&](const auto& known) { return known.first == dtype; });
  return found == kItemSizes.end() ? 0 : found->second;
}

SafetensorsHeader parse_safetensors_header(std::string_view json, uint64_t data_size,
                                           const std::string& path) {
  if (!json.starts_with('{')) {
    throw StorageError(fmt::format("{}: the header does not start with '{{'", path));
  }
  HeaderReader reader(path);
  Json::sax_parse(json.begin(), json.end(), &reader);
  SafetensorsHeader header = reader.take();
  for (const SafetensorsEntry& entry : header.entries) {
    check_entry(entry, path);
  }
  check_layout(header.entries, data_size, path);
  return header;
}

std::string format_safetensors_header(const SafetensorsHeader& header, const std::string& path) {
  // Joined by hand: an ordered JSON object looks through all its keys at each insertion.
  const auto dump = [&](const auto& value) {
    try {
      return Json(value).dump();
    } catch (const Json::type_error&) {
      throw StorageError(fmt::format("{}: cannot be written: a name or text is not UTF-8", path));
    }
  };
  std::vector<std::string> members;
  if (!header.metadata.empty()) {
    members.push_back(fmt::format("\"{}\":{}", kMetadataKey, dump(header.metadata)));
  }
  std::set<std::string_view> names = {kMetadataKey};
  for (const SafetensorsEntry& entry : header.entries) {
    if (!names.insert(entry.name).second) {
      throw StorageError(fmt::format("{}: cannot be written: tensor name {} is {}", path,
                                     printable(entry.name),
                                     entry.name == kMetadataKey ? "reserved" : "used twice"));
    }
    members.push_back(fmt::format(R"({}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                                  dump(entry.name), entry.dtype, fmt::join(entry.shape, ","),
                                  entry.begin, entry.end));
  }
  std::string text = fmt::format("{{{}}}", fmt::join(members, ","));
  text.resize((text.size() + 7) / 8 * 8, ' ');
  if (text.size() > kMaxSafetensorsHeader) {
    throw StorageError(fmt::format("{}: cannot be written: the header takes {} bytes, at most {}",
                                   path, text.size(), kMaxSafetensorsHeader));
  }
  return text;
}

}  // namespace unbraid
