#include "unbraid/media/resample.h"

#include <soxr.h>

#include <cmath>
#include <tuple>

#include "media/fixtures.h"
#include "unbraid/core/random.h"

namespace unbraid {
namespace {

std::vector<float> noise(size_t count) {
  RandomStream random(3);
  std::vector<float> samples(count);
  for (float& sample : samples) {
    sample = static_cast<float>(0.3 * random.normal());
  }
  return samples;
}

torch::Tensor by_soxr(const std::vector<float>& samples, double from, double to) {
  torch::Tensor result = torch::zeros(
      {static_cast<int64_t>(std::ceil(static_cast<double>(samples.size()) * to / from)) + 1});
  const soxr_quality_spec_t quality = soxr_quality_spec(SOXR_HQ, 0);
  size_t written = 0;
  EXPECT_EQ(
      soxr_oneshot(from, to, 1, samples.data(), samples.size(), nullptr, result.data_ptr<float>(),
                   static_cast<size_t>(result.numel()), &written, nullptr, &quality, nullptr),
      nullptr);
  return result.narrow(0, 0, static_cast<int64_t>(written));
}

TEST(Resample, EqualsLibsoxr) {
  // The last has no table of its own.
  for (const auto& [from, to] : {std::pair{16000, 22050},
                                 {44100, 16000},
                                 {48000, 22050},
                                 {44100, 22050},
                                 {8000, 16000},
                                 {96000, 16000},
                                 {22051, 16000}}) {
    const std::vector<float> samples = noise(static_cast<size_t>(from) / 4);
    const torch::Tensor found = resample(samples, from, to, "a.wav");
    const torch::Tensor expected = by_soxr(samples, from, to);
    ASSERT_EQ(found.sizes(), expected.sizes()) << from << " to " << to;
    // Less than the filter's reach from an end libsoxr drops part of what rings over it.
    const int64_t margin = static_cast<int64_t>(101.0 * std::max(1.0, 1.0 * to / from)) + 1;
    const torch::Tensor error =
        (found - expected).abs().narrow(0, margin, found.size(0) - 2 * margin);
    EXPECT_LT(error.max().item<double>(), 5e-6) << from << " to " << to;
  }
}

TEST(Resample, TakesSilenceForWhatIsBeforeAndAfter) {
  std::vector<float> samples = noise(3200);
  const torch::Tensor alone = resample(samples, 16000, 22050, "a.wav");
  ASSERT_EQ(alone.size(0), 4410);
  samples.insert(samples.begin(), 3200, 0.0F);
  samples.insert(samples.end(), 3200, 0.0F);
  const torch::Tensor among_silence = resample(samples, 16000, 22050, "a.wav");
  EXPECT_LT((among_silence.narrow(0, 4410, 4410) - alone).abs().max().item<double>(), 1e-6);
}

TEST(Resample, GivesTheLengthThatLibsoxrGives) {
  for (size_t count = 1; count < 400; ++count) {
    const std::vector<float> samples(count, 0.5F);
    EXPECT_EQ(resample(samples, 16000, 22050, "a.wav").size(0),
              by_soxr(samples, 16000, 22050).size(0))
        << count;
  }
}

TEST(Resample, SaysWhenNothingIsLeft) {
  testing::expect_data_error([] { resample({0.5F}, 44100, 16000, "a.wav"); },
                             {"a.wav", "too short: 1 frames at 44100 Hz"});
}

}  // namespace
}  // namespace unbraid
