#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace unbraid {

/// One tensor as the header of a safetensors file describes it.
struct SafetensorsEntry {
  std::string name;
  std::string dtype;  // one of "F64 F32 F16 BF16 I64 I32 I16 I8 U8 BOOL"
  std::vector<int64_t> shape;
  uint64_t begin = 0;  // bytes from the start of the data
  uint64_t end = 0;
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;  // in the order of the header
  std::map<std::string, std::string> metadata;
};

/// The longest header that is written or read.
constexpr uint64_t kMaxSafetensorsHeader = uint64_t{16} << 20;

/// Text from a file as it can stand in a message: quoted, in ASCII, cut when long.
std::string printable(const std::string& text);

/// Bytes per element; 0 for an unknown dtype.
uint64_t safetensors_item_size(std::string_view dtype);

/// Reads the JSON text of a header and checks all of it: structure, names, dtypes, shapes, and that
/// the tensors fill `data_size` bytes without gap or overlap. A StorageError names `path`, the
/// tensor and what is wrong.
SafetensorsHeader parse_safetensors_header(std::string_view json, uint64_t data_size,
                                           const std::string& path);

/// The JSON text, padded with spaces to a multiple of 8. A StorageError if a name or the metadata
/// is not UTF-8, a name occurs twice or the text is longer than kMaxSafetensorsHeader.
std::string format_safetensors_header(const SafetensorsHeader& header, const std::string& path);

}  // namespace unbraid
