// In place of container_*.cpp in a build without FFmpeg.
#include "unbraid/core/error.h"
#include "unbraid/media/container.h"

namespace unbraid {
namespace {

[[noreturn]] void refuse(const std::string& path) {
  throw DataError(path + ": needs a build of Unbraid with FFmpeg (-DUNBRAID_WITH_FFMPEG=ON)");
}

}  // namespace

bool container_support() { return false; }

class VideoFile::Impl {};

VideoFile::VideoFile(const std::string& path) { refuse(path); }
VideoFile::~VideoFile() = default;
const std::vector<double>& VideoFile::times() const {
  static const std::vector<double> none;
  return none;
}
double VideoFile::duration() const { return 0; }
std::vector<torch::Tensor> VideoFile::frames_at(const std::vector<double>& /*moments*/) {
  return {};
}

SoundTrack read_sound_track(const std::string& path, double /*max_seconds*/) { refuse(path); }

}  // namespace unbraid
