#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>

#include <jpeglib.h>

#include "unbraid/core/torch.h"

namespace unbraid::testing {

struct JpegFormat {
  bool progressive = false;
  int across = 1;  // pixels to one value of colour
  int down = 1;
};

/// uint8 [height, width, 1, 3 or 4 (CMYK)] as the content of a JPEG.
inline std::string jpeg_of(const torch::Tensor& image, const JpegFormat& format = {}) {
  const auto channels = static_cast<int>(image.size(2));
  jpeg_compress_struct info{};
  jpeg_error_mgr errors{};
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &bytes, &size);
  info.image_height = static_cast<JDIMENSION>(image.size(0));
  info.image_width = static_cast<JDIMENSION>(image.size(1));
  info.input_components = channels;
  info.in_color_space = channels == 1 ? JCS_GRAYSCALE : channels == 3 ? JCS_RGB : JCS_CMYK;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, 98, TRUE);
  if (channels == 3) {
    info.comp_info[0].h_samp_factor = format.across;
    info.comp_info[0].v_samp_factor = format.down;
  }
  if (format.progressive) {
    jpeg_simple_progression(&info);
  }
  jpeg_start_compress(&info, TRUE);
  while (info.next_scanline < info.image_height) {
    JSAMPROW row = image.data_ptr<uint8_t>() + info.next_scanline * image.stride(0);
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  std::string content(reinterpret_cast<char*>(bytes), size);
  std::free(bytes);
  return content;
}

}  // namespace unbraid::testing
