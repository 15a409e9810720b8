#include <gtest/gtest.h>

#include "media/fixtures.h"
#include "media/jpegs.h"
#include "unbraid/core/random.h"
#include "unbraid/media/image.h"
#include "unbraid/media/image_codecs.h"
#include "unbraid/media/limits.h"

namespace unbraid {
namespace {

using testing::expect_data_error;
using testing::jpeg_of;
using testing::JpegFormat;
using testing::options_of;

// Waves and noise, so that neighbours differ in colour too.
torch::Tensor picture(int64_t height, int64_t width) {
  RandomStream random(5);
  torch::Tensor image = torch::empty({height, width, 3}, torch::kUInt8);
  uint8_t* const pixels = image.data_ptr<uint8_t>();
  for (int64_t i = 0; i < image.numel(); ++i) {
    pixels[i] = static_cast<uint8_t>(80 * (i / 40 % 3) + static_cast<int64_t>(random.below(90)));
  }
  return image;
}

torch::Tensor part_of(const torch::Tensor& image, const Crop& crop) {
  return image.narrow(0, crop.top, crop.height).narrow(1, crop.left, crop.width);
}

const JpegFormat kFormats[] = {
    {false, 1, 1}, {false, 2, 1}, {false, 2, 2}, {false, 1, 2},
    {false, 4, 1}, {true, 1, 1},  {true, 2, 2},
};

TEST(Jpeg, APartEqualsThatOfTheWhole) {
  const torch::Tensor image = picture(95, 117);
  RandomStream random(7);
  for (const JpegFormat& format : kFormats) {
    const std::string content = jpeg_of(image, format);
    const torch::Tensor whole = decode_jpeg(content, "a.jpg");
    for (int i = 0; i < 60; ++i) {
      const auto top = static_cast<int64_t>(random.below(95));
      const auto left = static_cast<int64_t>(random.below(117));
      const Crop crop{top, left, 1 + static_cast<int64_t>(random.below(95 - top)),
                      1 + static_cast<int64_t>(random.below(117 - left))};
      const torch::Tensor read =
          decode_jpeg(content, "a.jpg", [&](int64_t, int64_t) { return crop; });
      ASSERT_EQ(read.sizes(), whole.sizes());
      EXPECT_TRUE(torch::equal(part_of(read, crop), part_of(whole, crop)))
          << format.across << " x " << format.down << ": " << crop.top << ", " << crop.left << ", "
          << crop.height << " x " << crop.width;
    }
  }
}

TEST(Jpeg, FindsDamageOutsideOfThePart) {
  const auto corner = [](int64_t, int64_t) { return Crop{0, 0, 5, 5}; };
  for (const JpegFormat& format : kFormats) {
    const std::string whole = jpeg_of(picture(95, 117), format);
    EXPECT_NO_THROW(decode_jpeg(whole, "a.jpg", corner));
    for (const double share : {0.3, 0.6, 0.9, 0.99}) {
      const auto bytes = static_cast<size_t>(share * static_cast<double>(whole.size()));
      expect_data_error([&] { decode_jpeg(whole.substr(0, bytes), "a.jpg", corner); },
                        {"a.jpg: damaged or truncated JPEG: Premature end"});
    }
  }
}

TEST(Jpeg, IsHeldToItsTime) {
  const std::string content = jpeg_of(picture(95, 117), {.progressive = true});
  const DecodeBudget budget({.seconds = 1e-9});
  expect_data_error([&] { decode_jpeg(content, "a.jpg"); }, {"a.jpg", "decode_seconds"});
}

TEST(Jpeg, LoadingEqualsDecodingThenTransforming) {
  const testing::TemporaryFolder folder;
  const std::string path = folder.write("a.jpg", jpeg_of(picture(95, 117), {false, 2, 2}));
  Options options = options_of({{"size", int64_t{24}}});
  const ImageDecoder decoder(options);
  const torch::Tensor decoded = decoder.decode(path);
  for (uint64_t epoch = 0; epoch < 20; ++epoch) {
    for (const bool training : {false, true}) {
      const SampleContext context{.seed = 1, .epoch = epoch, .id = "a", .training = training};
      EXPECT_TRUE(torch::equal(decoder.load(path, context), decoder.transform(decoded, context)));
    }
  }
}

}  // namespace
}  // namespace unbraid
