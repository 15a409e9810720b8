#include "unbraid/media/label_map.h"

#include <png.h>

#include <cstdio>

#include "media/reference.h"
#include "unbraid/media/png_encoder.h"

namespace unbraid {
namespace {

using testing::expect_data_error;
using testing::TemporaryFolder;

// `numbers` by row, of `bits` bits each; with a palette, or grey.
void write_numbers(const std::string& path, const std::vector<std::vector<uint16_t>>& numbers,
                   int bits, bool palette) {
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  FILE* file = fopen(path.c_str(), "wb");
  png_init_io(png, file);
  png_set_IHDR(png, info, numbers[0].size(), numbers.size(), bits,
               palette ? PNG_COLOR_TYPE_PALETTE : PNG_COLOR_TYPE_GRAY, PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  if (palette) {
    const std::vector<png_color> colors(size_t{1} << bits, {200, 10, 30});
    png_set_PLTE(png, info, colors.data(), static_cast<int>(colors.size()));
  }
  png_write_info(png, info);
  png_set_packing(png);
  for (const auto& row : numbers) {
    std::vector<uint8_t> bytes;
    for (const uint16_t number : row) {
      if (bits == 16) {
        bytes.push_back(static_cast<uint8_t>(number >> 8));
      }
      bytes.push_back(static_cast<uint8_t>(number));
    }
    png_write_row(png, bytes.data());
  }
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
  fclose(file);
}

class LabelMap : public ::testing::Test {
 protected:
  torch::Tensor load(const std::string& path, const PixelLabels& labels) {
    return LabelMapDecoder(labels).load(path, {});
  }
  std::string png(const std::vector<std::vector<uint16_t>>& numbers, int bits, bool palette) {
    write_numbers(folder_.file("label.png"), numbers, bits, palette);
    return folder_.file("label.png");
  }

  TemporaryFolder folder_;
};

const PixelLabels kThreeByTwo{.classes = 4, .ignore = 255, .height = 2, .width = 3};
const std::vector<std::vector<uint16_t>> kNumbers{{0, 1, 2}, {3, 2, 1}};
const torch::Tensor kExpected = torch::tensor({{0, 1, 2}, {3, 2, 1}});

TEST_F(LabelMap, TakesTheNumbersOfAPngAsTheyAre) {
  for (const bool palette : {false, true}) {
    for (const int bits : {2, 4, 8, 16}) {
      if (palette && bits == 16) {
        continue;
      }
      SCOPED_TRACE(fmt::format("{} bits, palette: {}", bits, palette));
      const torch::Tensor label = load(png(kNumbers, bits, palette), kThreeByTwo);
      EXPECT_EQ(label.scalar_type(), torch::kLong);
      EXPECT_TRUE(torch::equal(label, kExpected)) << label;
    }
  }
  const PixelLabels many{.classes = 50000, .ignore = 65535, .height = 1, .width = 3};
  EXPECT_TRUE(torch::equal(load(png({{40001, 65535, 7}}, 16, false), many),
                           torch::tensor({{40001, 65535, 7}})));
}

TEST_F(LabelMap, TakesArraysOfWholeNumbers) {
  const std::string path = testing::write_array(folder_.file("label.npy"),
                                                torch::tensor({{0.F, 1.F, 2.F}, {3.F, 2.F, 1.F}}));
  EXPECT_TRUE(torch::equal(load(path, kThreeByTwo), kExpected));
  const std::string deeper =
      testing::write_array(folder_.file("deeper.npy"), torch::full({1, 2, 3}, -1.0));
  PixelLabels labels = kThreeByTwo;
  labels.ignore = -1;
  EXPECT_TRUE(torch::equal(load(deeper, labels), torch::full({2, 3}, -1, torch::kLong)));
}

TEST_F(LabelMap, IsResizedToTheNearestPixelAsPillowDoes) {
  torch::manual_seed(4);
  const torch::Tensor numbers = torch::randint(4, {11, 7}, torch::kByte);
  const std::string path =
      folder_.write("label.png", encode_png(11, 7, 1, {numbers.data_ptr<uint8_t>(), 77}));
  for (const auto& [height, width] : {std::pair{5, 4}, {11, 7}, {16, 30}, {1, 2}}) {
    const std::string resized = folder_.file("resized.png");
    testing::run(
        fmt::format("/usr/bin/python3 -c \"from PIL import Image; "
                    "Image.open('{}').resize(({}, {}), Image.NEAREST).save('{}')\"",
                    path, width, height, resized));
    const PixelLabels labels{.classes = 4, .ignore = 255, .height = height, .width = width};
    EXPECT_TRUE(torch::equal(load(path, labels), load(resized, labels))) << height;
  }
}

TEST_F(LabelMap, RefusesWhatIsNoClass) {
  expect_data_error(
      [&] {
        return load(png({{0, 1, 2}, {3, 4, 1}}, 8, false), kThreeByTwo);
      },
      {"label.png: expected classes from 0 to 3, or 255 (task.ignore), found 4 in "
       "row 1, column 1"});
  EXPECT_EQ(load(png({{0, 1, 255}, {3, 3, 1}}, 8, false), kThreeByTwo)[0][2].item<int64_t>(), 255);
  const std::string half =
      testing::write_array(folder_.file("half.npy"), torch::tensor({{0.F, 0.5F}}));
  expect_data_error([&] { return load(half, kThreeByTwo); },
                    {"half.npy: expected classes from 0 to 3", "found 0.5 in row 0, column 1"});
  // -1 must not be taken for the 255 of a byte.
  PixelLabels labels = kThreeByTwo;
  labels.ignore = -1;
  expect_data_error([&] { return load(png({{255}}, 8, false), labels); }, {"found 255"});
}

TEST_F(LabelMap, RefusesFilesOfAnotherKind) {
  const std::vector<uint8_t> pixels(12);
  const std::string color = folder_.write("color.png", encode_png(2, 2, 3, pixels));
  expect_data_error([&] { return load(color, kThreeByTwo); },
                    {"color.png: expected a PNG with one number for each pixel", "found RGB"});
  expect_data_error([&] { return load(folder_.write("x.txt", "hello"), kThreeByTwo); },
                    {"x.txt: expected a label for each pixel, a PNG or .npy file"});
  const std::string cube = testing::write_array(folder_.file("cube.npy"), torch::zeros({2, 2, 3}));
  expect_data_error([&] { return load(cube, kThreeByTwo); },
                    {"cube.npy: expected the shape [height, width], found [2, 2, 3]"});
  const std::string whole = testing::content_of(png(kNumbers, 8, false));
  expect_data_error(
      [&] { return load(folder_.write("cut.png", whole.substr(0, 60)), kThreeByTwo); },
      {"cut.png: damaged or truncated PNG"});
  expect_data_error([&] { LabelMapDecoder(kThreeByTwo).check(folder_.file("none.png")); },
                    {"none.png"});
}

}  // namespace
}  // namespace unbraid
