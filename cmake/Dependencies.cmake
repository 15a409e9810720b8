# What the library links. scripts/packages.txt says which Debian package brings each.
find_package(Torch REQUIRED)
find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(SNDFILE REQUIRED IMPORTED_TARGET sndfile)
pkg_check_modules(SOXR REQUIRED IMPORTED_TARGET soxr)
pkg_check_modules(JPEG REQUIRED IMPORTED_TARGET libjpeg)  # libjpeg-turbo, which can leave parts out
pkg_check_modules(PNG REQUIRED IMPORTED_TARGET libpng)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(FREETYPE REQUIRED IMPORTED_TARGET freetype2)
pkg_check_modules(WEBP REQUIRED IMPORTED_TARGET libwebp)
pkg_check_modules(ZIP REQUIRED IMPORTED_TARGET libzip)
pkg_check_modules(EXIF REQUIRED IMPORTED_TARGET libexif)
pkg_check_modules(ICU REQUIRED IMPORTED_TARGET icu-uc)
find_package(tomlplusplus REQUIRED)
find_package(Boost REQUIRED)  # headers: Student's t distribution

# FFmpeg 5.1 or later, for video files and for sound that libsndfile does not read.
option(UNBRAID_WITH_FFMPEG "Read video files and their sound tracks with FFmpeg" ON)
if(UNBRAID_WITH_FFMPEG)
  pkg_check_modules(FFMPEG REQUIRED IMPORTED_TARGET libavformat>=59.27 libavcodec libavutil
    libswscale libswresample)
endif()

# oneDNN 2.6 to 2.x, for the fused ResNet on x86-64, unless LibTorch brings a oneDNN of its own, whose
# symbols would take the place of these. Without it LibTorch's operators do the same more slowly.
option(UNBRAID_WITH_ONEDNN "Use oneDNN 2.x where it is found" ON)
set(UNBRAID_HAVE_ONEDNN OFF)
if(UNBRAID_WITH_ONEDNN AND CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
  find_path(UNBRAID_ONEDNN_INCLUDE_DIR oneapi/dnnl/dnnl_version.h)
  find_library(UNBRAID_ONEDNN_LIBRARY dnnl)
  mark_as_advanced(UNBRAID_ONEDNN_INCLUDE_DIR UNBRAID_ONEDNN_LIBRARY)
  if(UNBRAID_ONEDNN_INCLUDE_DIR AND UNBRAID_ONEDNN_LIBRARY)
    file(STRINGS "${UNBRAID_ONEDNN_INCLUDE_DIR}/oneapi/dnnl/dnnl_version.h" version
         REGEX "DNNL_VERSION_(MAJOR|MINOR) +[0-9]+")
    string(REGEX REPLACE "^[^0-9]*([0-9]+)[^0-9]+([0-9]+).*" "\\1.\\2" version "${version}")
    include(CheckCXXSourceCompiles)
    set(CMAKE_REQUIRED_LIBRARIES torch)
    check_cxx_source_compiles(
      "extern \"C\" const void* dnnl_version(); int main() { return dnnl_version() == nullptr; }"
      UNBRAID_TORCH_BRINGS_ONEDNN)
    unset(CMAKE_REQUIRED_LIBRARIES)
    if(version VERSION_GREATER_EQUAL 2.6 AND version VERSION_LESS 3
       AND NOT UNBRAID_TORCH_BRINGS_ONEDNN)
      set(UNBRAID_HAVE_ONEDNN ON)
    endif()
  endif()
endif()

# The programs' allocator: it keeps large blocks for the next step as tuned glibc does, without the
# fragmentation. Sanitizers bring their own. Without it the programs tune glibc's.
option(UNBRAID_WITH_TCMALLOC "Link the programs with tcmalloc where it is found" ON)
set(UNBRAID_ALLOCATOR "")
if(UNBRAID_WITH_TCMALLOC AND NOT UNBRAID_SANITIZE)
  find_library(UNBRAID_TCMALLOC_LIBRARY NAMES tcmalloc_minimal libtcmalloc_minimal.so.4)
  mark_as_advanced(UNBRAID_TCMALLOC_LIBRARY)
  if(UNBRAID_TCMALLOC_LIBRARY)
    set(UNBRAID_ALLOCATOR "${UNBRAID_TCMALLOC_LIBRARY}")
  endif()
endif()
