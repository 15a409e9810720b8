#include "unbraid/core/utf8.h"

#include <gtest/gtest.h>

namespace unbraid {
namespace {

TEST(Utf8, EveryCharacterHasTheSizeThatWasAppended) {
  for (uint32_t code = 0; code <= 0x10ffff; ++code) {
    std::string text;
    append_utf8(text, code);
    const bool surrogate = code >= 0xd800 && code <= 0xdfff;
    const size_t expected = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    ASSERT_EQ(text.size(), expected) << code;
    ASSERT_EQ(utf8_size(text + "a"), surrogate ? 0 : expected) << code;
    ASSERT_EQ(utf8_size(text.substr(0, expected - 1)), 0) << code;
  }
}

TEST(Utf8, OtherBytesAreNoCharacter) {
  for (const char* text :
       {"\x80", "\xff", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80", "\xc3(", "\xe2\x82("}) {
    EXPECT_EQ(utf8_size(text), 0) << text;
  }
}

}  // namespace
}  // namespace unbraid
