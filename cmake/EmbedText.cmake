# unbraid_embed_text(<target> <source file> <variable>): makes the text of a file a constant,
# declared in "<variable>.h" as `inline constexpr std::string_view <variable>`.
function(unbraid_embed_text target file variable)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${file}")
  file(READ "${file}" text)
  file(CONFIGURE OUTPUT "${CMAKE_CURRENT_BINARY_DIR}/embedded/${variable}.h" @ONLY CONTENT
"#pragma once

#include <string_view>

namespace unbraid {
inline constexpr std::string_view @variable@ = R\"embedded(@text@)embedded\";
}  // namespace unbraid
")
  target_include_directories(${target} PRIVATE "${CMAKE_CURRENT_BINARY_DIR}/embedded")
endfunction()
