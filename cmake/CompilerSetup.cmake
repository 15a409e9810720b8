# Flags that stay with this build: none of them is exported to a consumer.
add_library(unbraid_build_flags INTERFACE)
target_compile_options(unbraid_build_flags INTERFACE -Wall -Wextra -Wshadow -Wnon-virtual-dtor)
# Programs and libraries share the precompiled header, which holds for one kind of code alone.
target_compile_options(unbraid_build_flags INTERFACE -fPIC)
if(UNBRAID_WARNINGS_AS_ERRORS)
  target_compile_options(unbraid_build_flags INTERFACE -Werror)
endif()
if(UNBRAID_SANITIZE)
  target_compile_options(unbraid_build_flags INTERFACE
    -fsanitize=${UNBRAID_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")  # GCC: sanitizers cause false positives of it
    target_compile_options(unbraid_build_flags INTERFACE -Wno-maybe-uninitialized)
  endif()
  target_link_options(unbraid_build_flags INTERFACE -fsanitize=${UNBRAID_SANITIZE})
endif()

# ccache sees through a precompiled header only when told that its defines and times do not matter.
find_program(UNBRAID_CCACHE ccache)
if(UNBRAID_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      ${UNBRAID_CCACHE})
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # at::parallel_for runs in the header, so it needs OpenMP here; LibTorch brings the same libgomp.
  target_compile_options(unbraid_build_flags INTERFACE -fpch-preprocess -fopenmp)
  target_link_options(unbraid_build_flags INTERFACE -fopenmp)
else()
  target_compile_options(unbraid_build_flags INTERFACE -fopenmp-simd)
  target_compile_options(unbraid_build_flags INTERFACE "SHELL:-Xclang -fno-pch-timestamp")
endif()

# One precompiled LibTorch header for the whole build.
function(unbraid_precompile target)
  if(target STREQUAL "unbraid_core")
    target_precompile_headers(${target} PRIVATE "${PROJECT_SOURCE_DIR}/unbraid/core/torch.h")
  else()
    target_precompile_headers(${target} REUSE_FROM unbraid_core)
  endif()
endfunction()
