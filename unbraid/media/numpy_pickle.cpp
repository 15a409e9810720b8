#include "unbraid/media/numpy_pickle.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "unbraid/core/utf8.h"

namespace unbraid {
namespace {

using Kind = PickleValue::Kind;

constexpr size_t kMaxDimensions = 32;

bool is_one_of(const std::string& name, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// The arguments of a call of one of `names`; null when it is something else.
const PickleValue* arguments_of(const PickleValue& value,
                                std::initializer_list<std::string_view> names) {
  return value.is(Kind::kCall) && is_one_of(value.global_name(), names) ? value.items[1] : nullptr;
}

/// Text whose characters are bytes, in UTF-8; nothing when one is none.
std::optional<std::string> latin1(std::string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    auto byte = static_cast<unsigned char>(text[i]);
    if (byte >= 0x80) {
      const bool whole = (byte == 0xc2 || byte == 0xc3) && i + 1 < text.size() &&
                         (static_cast<unsigned char>(text[i + 1]) & 0xc0) == 0x80;
      if (!whole) {
        return std::nullopt;
      }
      byte = static_cast<unsigned char>((byte & 3) << 6 | (text[++i] & 0x3f));
    }
    bytes += static_cast<char>(byte);
  }
  return bytes;
}

/// Bytes as Python writes them: as such, or below protocol 3 as a call that makes them of text, in
/// which case they are put into `decoded`. Nothing when it is something else.
std::optional<std::string_view> bytes_of(const PickleValue& value,
                                         std::shared_ptr<const std::string>& decoded) {
  if (value.is(Kind::kBytes)) {
    return value.text;
  }
  if (const PickleValue* none = arguments_of(value, {"__builtin__.bytes", "builtins.bytes"});
      none != nullptr && none->items.empty()) {
    return std::string_view();
  }
  const PickleValue* arguments = arguments_of(value, {"_codecs.encode"});
  if (arguments == nullptr || arguments->items.size() != 2 ||
      !arguments->items[0]->is(Kind::kString) || !arguments->items[1]->is(Kind::kString) ||
      arguments->items[1]->text != "latin1") {
    return std::nullopt;
  }
  std::optional<std::string> bytes = latin1(arguments->items[0]->text);
  if (!bytes) {
    return std::nullopt;
  }
  decoded = std::make_shared<const std::string>(*std::move(bytes));
  return *decoded;
}

bool is_text(const PickleValue& value) { return value.is(Kind::kString) || value.is(Kind::kBytes); }

std::string_view without_zeros(std::string_view text) {
  return text.substr(0, text.find_last_not_of('\0') + 1);
}

}  // namespace

PickledArray::PickledArray(const Pickle& pickle, const PickleValue& value, std::string name)
    : pickle_(&pickle), name_(std::move(name)) {
  if (const PickleValue* arguments = arguments_of(
          value, {"numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer"})) {
    read_frombuffer(*arguments);
  } else if (arguments_of(value, {"numpy.core.multiarray._reconstruct",
                                  "numpy._core.multiarray._reconstruct"}) != nullptr &&
             value.items[2] != nullptr) {
    read_state(*value.items[2]);
  } else {
    throw error("an array of NumPy",
                fmt::format("{} at byte {}", value.description(), value.offset));
  }
}

DataError PickledArray::error(std::string_view expected, std::string_view found) const {
  return DataError(
      fmt::format("{}: {}: expected {}, found {}", pickle_->source(), name_, expected, found));
}

/// (buffer, dtype, shape, order), the last "C" or "F".
void PickledArray::read_frombuffer(const PickleValue& arguments) {
  const auto& items = arguments.items;
  const bool ordered = (items.size() == 4 || (items.size() == 5 && items[4]->is(Kind::kNone))) &&
                       items[3]->is(Kind::kString) &&
                       (items[3]->text == "C" || items[3]->text == "F");
  if (!ordered) {
    throw error("an array's buffer, dtype, shape and order C or F", arguments.description());
  }
  layout_.fortran_order = items[3]->text == "F";
  read_type(*items[1]);
  read_shape(*items[2]);
  set_data(*items[0]);
}

/// (version, shape, dtype, whether in Fortran's order, bytes or a list of objects).
void PickledArray::read_state(const PickleValue& state) {
  const auto& items = state.items;
  if (!state.is(Kind::kTuple) || items.size() != 5 || !items[0]->is(Kind::kInt) ||
      items[0]->integer != 1 || !(items[3]->is(Kind::kBool) || items[3]->is(Kind::kInt))) {
    throw error("an array's state of version 1", state.description());
  }
  layout_.fortran_order = items[3]->integer != 0;
  read_type(*items[2]);
  read_shape(*items[1]);
  set_data(*items[4]);
}

void PickledArray::read_shape(const PickleValue& shape) {
  if (!shape.is(Kind::kTuple) || shape.items.size() > kMaxDimensions) {
    throw error(fmt::format("a shape of at most {} sizes", kMaxDimensions), shape.description());
  }
  for (const PickleValue* size : shape.items) {
    if (!size->is(Kind::kInt) || size->integer < 0) {
      throw error("a shape of sizes", size->description());
    }
    layout_.shape.push_back(size->integer);
  }
  const std::optional<int64_t> size = layout_.size();
  if (!size) {
    throw error("a shape of at most 2^63 bytes",
                fmt::format("[{}]", fmt::join(layout_.shape, ", ")));
  }
  size_ = *size;
}

/// numpy.dtype("f4", …) with the state (3, "<", None, None, None, …).
void PickledArray::read_type(const PickleValue& type) {
  const PickleValue* arguments = arguments_of(type, {"numpy.dtype"});
  if (arguments == nullptr || arguments->items.empty() || !is_text(*arguments->items[0])) {
    throw error("a dtype", fmt::format("{} at byte {}", type.description(), type.offset));
  }
  const std::string_view name = arguments->items[0]->text;
  int64_t number = 0;
  const auto [end, failure] = std::from_chars(name.data() + std::min<size_t>(1, name.size()),
                                              name.data() + name.size(), number);
  layout_.kind = name.empty() ? '?' : name[0];
  const bool is_unicode = layout_.kind == 'U';
  const bool is_characters = is_unicode || layout_.kind == 'S';
  const bool sized = failure == std::errc() && end == name.data() + name.size() && number > 0 &&
                     number <= int64_t{1} << 30;
  layout_.item_size = is_unicode ? 4 * number : number;
  if (!sized || !(is_characters || layout_.kind == 'O' || layout_.is_numeric())) {
    throw error("a dtype of real numbers of at most 8 bytes, texts or objects",
                arguments->items[0]->description());
  }
  const PickleValue* state = type.items[2];
  if (state == nullptr) {
    return;
  }
  const bool plain = state->is(Kind::kTuple) && state->items.size() >= 5 &&
                     is_text(*state->items[1]) &&
                     std::all_of(state->items.begin() + 2, state->items.begin() + 5,
                                 [](const PickleValue* part) { return part->is(Kind::kNone); });
  const std::string_view order = plain ? state->items[1]->text : "";
  if (order.size() != 1 || std::string_view("<>|=").find(order[0]) == std::string_view::npos) {
    throw error("a dtype with a byte order and without fields", state->description());
  }
  layout_.big_endian = order == ">";
}

void PickledArray::set_data(const PickleValue& bytes) {
  const std::string shape = fmt::format("[{}]", fmt::join(layout_.shape, ", "));
  if (layout_.kind == 'O') {
    if (!bytes.is(Kind::kList) || static_cast<int64_t>(bytes.items.size()) != size_) {
      throw error(fmt::format("a list of {} objects for the shape {}", size_, shape),
                  bytes.description());
    }
    objects_ = bytes.items;
    return;
  }
  const std::optional<std::string_view> data = bytes_of(bytes, decoded_);
  if (!data) {
    throw error("the bytes of an array",
                fmt::format("{} at byte {}", bytes.description(), bytes.offset));
  }
  if (static_cast<int64_t>(data->size()) != size_ * layout_.item_size) {
    throw error(fmt::format("{} bytes for the shape {}", size_ * layout_.item_size, shape),
                std::to_string(data->size()));
  }
  data_ = *data;
}

void PickledArray::read(int64_t first, std::span<float> values) const {
  layout_.read(data_.data(), first, values);
}

std::string PickledArray::text(int64_t index) const {
  if (layout_.kind == 'O') {
    const PickleValue& object = *objects_[static_cast<size_t>(index)];
    if (object.is(Kind::kString)) {
      return std::string(object.text);
    }
    std::shared_ptr<const std::string> decoded;
    const std::optional<std::string_view> bytes = bytes_of(object, decoded);
    if (!bytes) {
      throw error(fmt::format("a text as element {}", index), object.description());
    }
    return std::string(*bytes);
  }
  if (layout_.is_numeric()) {
    throw error("texts", "numbers");
  }
  const std::string_view bytes =
      data_.substr(static_cast<size_t>(layout_.place_of(index) * layout_.item_size),
                   static_cast<size_t>(layout_.item_size));
  if (layout_.kind == 'S') {
    return std::string(without_zeros(bytes));
  }
  std::string text;
  for (size_t i = 0; i + 4 <= bytes.size(); i += 4) {
    uint32_t code_point = 0;
    for (size_t k = 0; k < 4; ++k) {
      code_point =
          code_point << 8 | static_cast<unsigned char>(bytes[i + (layout_.big_endian ? k : 3 - k)]);
    }
    if (code_point > 0x10ffff) {
      throw error(fmt::format("a text as element {}", index),
                  fmt::format("the code point {:#x}", code_point));
    }
    append_utf8(text, code_point);
  }
  return std::string(without_zeros(text));
}

}  // namespace unbraid
