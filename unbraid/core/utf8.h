#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace unbraid {

/// Bytes of the UTF-8 character that `text` starts with; 0 when it starts with none.
size_t utf8_size(std::string_view text);

/// Appends a code point of up to 0x10ffff.
void append_utf8(std::string& text, uint32_t code_point);

}  // namespace unbraid
