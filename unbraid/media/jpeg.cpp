#include <turbojpeg.h>

#include <memory>
#include <type_traits>

#include <fmt/format.h>

#include "unbraid/core/error.h"
#include "unbraid/media/image_codecs.h"

namespace unbraid {
namespace {

struct Destroyer {
  void operator()(void* handle) const { tjDestroy(handle); }
};

}  // namespace

torch::Tensor decode_jpeg(const std::string& content, const std::string& path) {
  const std::unique_ptr<std::remove_pointer_t<tjhandle>, Destroyer> handle(tjInitDecompress());
  if (handle == nullptr) {
    throw std::bad_alloc();
  }
  const auto require = [&](int status) {
    if (status != 0) {  // a mere warning too: it means that pixels were made up
      throw DataError(
          fmt::format("{}: damaged or truncated JPEG: {}", path, tjGetErrorStr2(handle.get())));
    }
  };
  const auto* bytes = reinterpret_cast<const unsigned char*>(content.data());
  int width = 0;
  int height = 0;
  int subsampling = 0;
  int colours = 0;
  require(tjDecompressHeader3(handle.get(), bytes, content.size(), &width, &height, &subsampling,
                              &colours));
  check_image_size(height, width, path);
  if (colours == TJCS_CMYK || colours == TJCS_YCCK) {
    throw DataError(fmt::format("{}: expected a grey or RGB image, found a CMYK JPEG", path));
  }
  const bool grey = colours == TJCS_GRAY;
  torch::Tensor image = torch::empty({height, width, grey ? 1 : 3}, torch::kUInt8);
  require(tjDecompress2(handle.get(), bytes, content.size(), image.data_ptr<uint8_t>(), width,
                        /*pitch=*/0, height, grey ? TJPF_GRAY : TJPF_RGB,
                        TJFLAG_STOPONWARNING | TJFLAG_LIMITSCANS));
  return image;
}

}  // namespace unbraid
