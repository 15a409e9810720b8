extern "C" {
#include <libswresample/swresample.h>
}

#include <fmt/format.h>

#include "unbraid/media/container.h"
#include "unbraid/media/container_stream.h"

namespace unbraid {
namespace {

struct ConverterFree {
  void operator()(SwrContext* converter) const { swr_free(&converter); }
};

/// Collects decoded sound.
class MeanOfChannels {
 public:
  explicit MeanOfChannels(const Container& container) : container_(container) {}
  ~MeanOfChannels() { av_channel_layout_uninit(&layout_); }
  MeanOfChannels(const MeanOfChannels&) = delete;
  MeanOfChannels& operator=(const MeanOfChannels&) = delete;

  void append(const AVFrame& frame) {
    if (converter_ == nullptr) {
      start(frame);
    } else if (frame.sample_rate != static_cast<int>(track_.rate) ||
               av_channel_layout_compare(&frame.ch_layout, &layout_) != 0) {
      throw container_.error("expected one sample rate and layout of channels, they change");
    }
    const auto count = static_cast<size_t>(frame.nb_samples);
    std::vector<uint8_t*> planes;
    for (auto& channel : channels_) {
      channel.resize(count);
      planes.push_back(reinterpret_cast<uint8_t*>(channel.data()));
    }
    container_.require(
        swr_convert(converter_.get(), planes.data(), frame.nb_samples,
                    const_cast<const uint8_t**>(frame.extended_data), frame.nb_samples),
        kCannotConvert);
    for (size_t i = 0; i < count; ++i) {
      double sum = 0;
      for (const auto& channel : channels_) {
        sum += channel[i];
      }
      track_.samples.push_back(static_cast<float>(sum / static_cast<double>(channels_.size())));
    }
  }

  [[nodiscard]] const SoundTrack& track() const { return track_; }

 private:
  static constexpr const char* kCannotConvert = "its samples cannot be converted";

  void start(const AVFrame& frame) {
    constexpr int kMaxChannels = 64;
    const int channels = frame.ch_layout.nb_channels;
    if (frame.sample_rate < 1 || channels < 1 || channels > kMaxChannels) {
      throw container_.error(fmt::format("expected 1 to {} channels, found {} at {} Hz",
                                         kMaxChannels, channels, frame.sample_rate));
    }
    track_.rate = frame.sample_rate;
    channels_.resize(static_cast<size_t>(channels));
    container_.require(av_channel_layout_copy(&layout_, &frame.ch_layout), kCannotConvert);
    SwrContext* made = nullptr;
    const int status = swr_alloc_set_opts2(&made, &layout_, AV_SAMPLE_FMT_FLTP, frame.sample_rate,
                                           &layout_, static_cast<AVSampleFormat>(frame.format),
                                           frame.sample_rate, 0, nullptr);
    converter_.reset(made);
    container_.require(status, kCannotConvert);
    container_.require(swr_init(converter_.get()), kCannotConvert);
  }

  const Container& container_;
  std::unique_ptr<SwrContext, ConverterFree> converter_;
  AVChannelLayout layout_{};
  std::vector<std::vector<float>> channels_;
  SoundTrack track_;
};

}  // namespace

SoundTrack read_sound_track(const std::string& path, double max_seconds) {
  Container container(path);
  const AVStream& stream = container.best_stream(AVMEDIA_TYPE_AUDIO, "a sound track");
  StreamDecoder decoder(container, stream);
  MeanOfChannels mean(container);
  const Frame frame(allocated(av_frame_alloc()));
  while (decoder.next(*frame)) {
    mean.append(*frame);
    DecodeBudget::require_memory(static_cast<int64_t>(mean.track().samples.size() * sizeof(float)),
                                 path);
    if (static_cast<double>(mean.track().samples.size()) > max_seconds * mean.track().rate) {
      throw container.error(
          fmt::format("expected at most {} seconds of sound, it has more", max_seconds));
    }
  }
  container.check_whole(stream);
  return mean.track();
}

}  // namespace unbraid
