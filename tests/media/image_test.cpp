#include "unbraid/media/image.h"

#include <png.h>
#include <sys/stat.h>

#include <algorithm>
#include <cmath>

#include "media/jpegs.h"
#include "media/reference.h"

namespace unbraid {
namespace {

using testing::content_of;
using testing::expect_data_error;
using testing::jpeg_of;
using testing::list_of;
using testing::message_of;
using testing::options_of;
using testing::TemporaryFolder;

struct PngFormat {
  int type = PNG_COLOR_TYPE_RGB;
  int bits = 8;
  bool interlaced = false;
  bool transparent = false;  // adds a tRNS chunk
};

// `rows` as they lie in the file: big-endian samples, several to a byte below 8 bits.
void write_png(const std::string& path, int height, int width, const PngFormat& format,
               std::vector<std::vector<uint8_t>> rows) {
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  FILE* file = fopen(path.c_str(), "wb");
  png_init_io(png, file);
  png_set_IHDR(png, info, width, height, format.bits, format.type,
               format.interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  const png_color palette[] = {{255, 0, 0}, {0, 255, 0}, {10, 20, 30}, {200, 100, 50}};
  if (format.type == PNG_COLOR_TYPE_PALETTE) {
    png_set_PLTE(png, info, palette, 4);
  }
  const png_byte alpha[] = {0, 128};
  png_color_16 colour{};
  if (format.transparent) {
    png_set_tRNS(png, info, alpha, 2, &colour);
  }
  std::vector<png_bytep> pointers;
  pointers.reserve(rows.size());
  for (auto& row : rows) {
    pointers.push_back(row.data());
  }
  png_set_rows(png, info, pointers.data());
  png_write_png(png, info, PNG_TRANSFORM_IDENTITY, nullptr);
  png_destroy_write_struct(&png, &info);
  fclose(file);
}

// A smooth picture, uint8 [height, width, 3].
torch::Tensor picture(int64_t height, int64_t width) {
  torch::Tensor image = torch::empty({height, width, 3}, torch::kUInt8);
  auto pixels = image.accessor<uint8_t, 3>();
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      pixels[y][x][0] = static_cast<uint8_t>(127.5 + 127 * std::sin(0.05 * x + 0.02 * y));
      pixels[y][x][1] = static_cast<uint8_t>(255 * x / width);
      pixels[y][x][2] = static_cast<uint8_t>(255 * y / height);
    }
  }
  return image;
}

std::vector<std::vector<uint8_t>> rows_of(const torch::Tensor& image) {
  std::vector<std::vector<uint8_t>> rows;
  for (int64_t y = 0; y < image.size(0); ++y) {
    const torch::Tensor row = image[y].contiguous();
    rows.emplace_back(row.data_ptr<uint8_t>(), row.data_ptr<uint8_t>() + row.numel());
  }
  return rows;
}

class Image : public ::testing::Test {
 protected:
  std::string png(const torch::Tensor& image, bool interlaced = false) {
    const int type = image.size(2) == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB;
    return png({type, 8, interlaced, false}, image.size(0), image.size(1), rows_of(image));
  }
  std::string png(const PngFormat& format, int64_t height, int64_t width,
                  std::vector<std::vector<uint8_t>> rows) {
    write_png(folder_.file("image.png"), static_cast<int>(height), static_cast<int>(width), format,
              std::move(rows));
    return folder_.file("image.png");
  }

  TemporaryFolder folder_;
};

std::vector<uint8_t> values(const torch::Tensor& image) {
  const torch::Tensor flat = image.contiguous();
  return {flat.data_ptr<uint8_t>(), flat.data_ptr<uint8_t>() + flat.numel()};
}

using Bytes = std::vector<uint8_t>;

TEST_F(Image, ReadsAPngExactly) {
  const torch::Tensor image = picture(33, 47);
  for (const bool interlaced : {false, true}) {
    const torch::Tensor read = read_image(png(image, interlaced), 3);
    EXPECT_EQ(read.dtype(), torch::kUInt8);
    EXPECT_TRUE(torch::equal(read, image)) << interlaced;
  }
}

TEST_F(Image, ReadsEveryKindOfPng) {
  const auto read = [&](const PngFormat& format, int width, const Bytes& row, int channels) {
    return values(read_image(png(format, 1, width, {row}), channels));
  };
  EXPECT_EQ(read({PNG_COLOR_TYPE_GRAY, 8}, 2, {7, 250}, 1), (Bytes{7, 250}));
  EXPECT_EQ(read({PNG_COLOR_TYPE_GRAY, 8}, 2, {7, 250}, 3), (Bytes{7, 7, 7, 250, 250, 250}));
  EXPECT_EQ(read({PNG_COLOR_TYPE_GRAY, 1}, 3, {0xa0}, 1), (Bytes{255, 0, 255}));
  EXPECT_EQ(read({PNG_COLOR_TYPE_GRAY, 2}, 4, {0x1b}, 1), (Bytes{0, 85, 170, 255}));
  EXPECT_EQ(read({PNG_COLOR_TYPE_GRAY, 8, false, true}, 2, {7, 0}, 1), (Bytes{7, 0}));
  // 16 bits: 255 / 257 rounds to 1, where dropping the lower byte would give 0.
  EXPECT_EQ(read({PNG_COLOR_TYPE_GRAY, 16}, 3, {0x00, 0xff, 0x81, 0x20, 0xff, 0xff}, 1),
            (Bytes{1, 129, 255}));
  EXPECT_EQ(read({PNG_COLOR_TYPE_GRAY_ALPHA, 8}, 2, {7, 0, 250, 255}, 1), (Bytes{7, 250}));
  EXPECT_EQ(read({PNG_COLOR_TYPE_RGB_ALPHA, 8}, 1, {1, 2, 3, 0}, 3), (Bytes{1, 2, 3}));
  EXPECT_EQ(read({PNG_COLOR_TYPE_RGB, 16}, 1, {1, 0, 2, 0, 3, 0}, 3), (Bytes{1, 2, 3}));
  const Bytes palette = {255, 0, 0, 0, 255, 0, 10, 20, 30, 200, 100, 50};
  EXPECT_EQ(read({PNG_COLOR_TYPE_PALETTE, 2}, 4, {0x1b}, 3), palette);
  EXPECT_EQ(read({PNG_COLOR_TYPE_PALETTE, 8, false, true}, 4, {0, 1, 2, 3}, 3), palette);
}

TEST_F(Image, MakesGreyAsPillowDoes) {
  // round(0.299 R + 0.587 G + 0.114 B), worked out by hand.
  const Bytes row = {255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 20, 30, 255, 255, 255};
  const std::string path = png({PNG_COLOR_TYPE_RGB, 8}, 1, 5, {row});
  EXPECT_EQ(values(read_image(path, 1)), (Bytes{76, 150, 29, 18, 255}));
}

TEST_F(Image, ReadsJpegWhateverItsName) {
  const torch::Tensor image = picture(64, 80);
  for (const bool progressive : {false, true}) {
    const torch::Tensor read =
        read_image(folder_.write("colour.png", jpeg_of(image, {progressive})), 3);
    ASSERT_EQ(read.sizes(), torch::IntArrayRef({64, 80, 3}));
    const torch::Tensor error = (read.to(torch::kInt) - image).abs();
    EXPECT_LE(error.max().item<int>(), 8);
    EXPECT_LT(error.to(torch::kFloat).mean().item<double>(), 1.0);
  }
  const torch::Tensor grey = image.narrow(2, 0, 1).contiguous();
  const std::string path = folder_.write("grey.jpg", jpeg_of(grey));
  EXPECT_EQ(read_image(path, 1).sizes(), torch::IntArrayRef({64, 80, 1}));
  EXPECT_TRUE(torch::equal(read_image(path, 3).select(2, 2), read_image(path, 1).select(2, 0)));
}

TEST_F(Image, RefusesCmyk) {
  const std::string path =
      folder_.write("cmyk.jpg", jpeg_of(torch::full({16, 16, 4}, 100, torch::kUInt8)));
  expect_data_error([&] { read_image(path, 3); }, {path, "CMYK"});
}

TEST_F(Image, FindsEveryTruncation) {
  const torch::Tensor image = picture(120, 160);
  for (const std::string& whole : {content_of(png(image)), content_of(png(image, true)),
                                   jpeg_of(image), jpeg_of(image, {.progressive = true})}) {
    for (const double part : {0.001, 0.01, 0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99}) {
      const auto bytes = static_cast<size_t>(part * static_cast<double>(whole.size()));
      const std::string path = folder_.write("cut", whole.substr(0, std::max<size_t>(bytes, 1)));
      expect_data_error([&] { read_image(path, 3); }, {path});
    }
    const std::string path = folder_.write("cut", whole.substr(0, whole.size() - 3));
    expect_data_error([&] { read_image(path, 3); }, {path, "damaged or truncated"});
  }
}

TEST_F(Image, FindsDamagedPixelsOfAPng) {
  const std::string whole = content_of(png(picture(60, 80)));
  for (size_t at = whole.find("IDAT") + 4; at + 16 < whole.size(); at += whole.size() / 20) {
    std::string content = whole;
    content[at] ^= 0x10;
    const std::string path = folder_.write("flipped", content);
    expect_data_error([&] { read_image(path, 3); }, {path, "damaged or truncated PNG"});
  }
}

TEST_F(Image, RefusesWhatIsNoImage) {
  std::string noise(3000, '\0');
  for (size_t i = 0; i < noise.size(); ++i) {
    noise[i] = static_cast<char>(i * 7919 >> 3);
  }
  for (const std::string& content :
       {noise, std::string("x"), "\x89PNG\r\n\x1a\n" + noise, "\xff\xd8\xff" + noise,
        std::string("GIF89a"), std::string("RIFF"), std::string("\x89PNG\r\n\x1a\n"),
        std::string("\xff\xd8\xff")}) {
    const std::string path = folder_.write("noise.png", content);
    expect_data_error([&] { read_image(path, 3); }, {path});
  }
  const std::string fifo = folder_.file("fifo");
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  Options options = options_of({});
  const ImageDecoder decoder(options);
  for (const std::string& path :
       {fifo, folder_.file(""), folder_.file("missing.png"), folder_.write("empty.png", "")}) {
    expect_data_error([&] { decoder.check(path); }, {path});
    expect_data_error([&] { return decoder.decode(path); }, {path});
  }
}

uint32_t crc_of(const std::string& bytes) {
  uint32_t crc = 0xffffffff;
  for (const char byte : bytes) {
    crc ^= static_cast<unsigned char>(byte);
    for (int bit = 0; bit < 8; ++bit) {
      crc = crc >> 1 ^ (crc & 1 ? 0xedb88320U : 0);
    }
  }
  return ~crc;
}

std::string big_endian(uint32_t value) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) {
    bytes.push_back(static_cast<char>(value >> shift));
  }
  return bytes;
}

TEST_F(Image, RefusesHugeImagesByTheirHeader) {
  const std::string small = content_of(png(picture(8, 8)));
  for (const auto& [width, height] :
       {std::pair{30001U, 1U}, {1U, 30001U}, {29000U, 29000U}, {0x7fffffffU, 0x7fffffffU}}) {
    std::string content = small;
    content.replace(16, 8, big_endian(width) + big_endian(height));
    content.replace(29, 4, big_endian(crc_of(content.substr(12, 17))));
    const std::string path = folder_.write("huge.png", content);
    expect_data_error([&] { read_image(path, 3); },
                      {path, "at most 67108864 pixels", fmt::format("{} x {}", width, height)});
  }
  std::string jpeg = jpeg_of(picture(8, 8));
  const size_t frame = jpeg.find("\xff\xc0");
  ASSERT_NE(frame, std::string::npos);
  jpeg.replace(frame + 5, 4, "\x70\x00\x70\x00", 4);
  const std::string path = folder_.write("huge.jpg", jpeg);
  expect_data_error([&] { read_image(path, 3); }, {path, "28672 x 28672"});
}

TEST_F(Image, RefusesMorePixelsThanAPngsHeaderSays) {
  for (const int64_t side : {40, 4000}) {
    for (const bool interlaced : {false, true}) {
      std::string content =
          content_of(png(torch::zeros({side, side, 3}, torch::kUInt8), interlaced));
      content.replace(16, 8, big_endian(4) + big_endian(4));
      content.replace(29, 4, big_endian(crc_of(content.substr(12, 17))));
      if (side > 40) {  // what is surplus is not even looked through: its end is not missed
        content.resize(content.size() - 1000);
      }
      const std::string path = folder_.write("surplus.png", content);
      expect_data_error([&] { read_image(path, 3); }, {path, "more pixels than its header says"});
    }
  }
}

// An image with edges and gradients, [height, width, 3].
torch::Tensor pattern(int64_t height, int64_t width) {
  const torch::Tensor rows = torch::arange(height, torch::kFloat).view({height, 1, 1});
  const torch::Tensor columns = torch::arange(width, torch::kFloat).view({1, width, 1});
  const torch::Tensor colours = torch::tensor({1.0F, 2.0F, 5.0F}).view({1, 1, 3});
  return ((rows * 3 + columns * 7 * colours).remainder(256) * (1 + (rows > columns)))
      .clamp(0, 255)
      .floor();
}

TEST_F(Image, EqualsPillow) {
  const torch::Tensor pixels = pattern(90, 131);
  const std::string array = testing::write_array(folder_.file("pixels.npy"), pixels);
  for (const std::string name : {"a.png", "a.jpg", "a.webp"}) {
    const std::string path = folder_.file(name);
    testing::reference(folder_, "saved", array, {path});
    const torch::Tensor colour = testing::reference(folder_, "opened", path, {"RGB"});
    EXPECT_TRUE(torch::equal(read_image(path, 3).to(torch::kFloat), colour)) << name;
    const torch::Tensor grey = testing::reference(folder_, "opened", path, {"L"});
    EXPECT_LE(
        (read_image(path, 1).select(2, 0).to(torch::kFloat) - grey).abs().max().item<double>(), 1)
        << name;
    const PixelScaling as_it_is{{1, 1, 1}, {0, 0, 0}};
    for (const int64_t size : {32, 224}) {
      const torch::Tensor expected =
          testing::reference(folder_, "resized", path, {std::to_string(size)});
      const torch::Tensor resized =
          resize_crop(read_image(path, 3), {0, 0, 90, 131}, size, false, as_it_is);
      EXPECT_LE((resized - expected.permute({2, 0, 1})).abs().max().item<double>(), 1.01) << name;
    }
  }
}

TEST_F(Image, IsTurnedAsExifSays) {
  const std::string array = testing::write_array(folder_.file("pixels.npy"), pattern(20, 30));
  for (const char* name : {"turned.jpg", "turned.png", "turned.webp"}) {
    for (int orientation = 1; orientation <= 8; ++orientation) {
      const std::string path = folder_.file(name);
      testing::reference(folder_, "saved", array,
                         {path, fmt::format("orientation={}", orientation)});
      const torch::Tensor expected = testing::reference(folder_, "opened", path, {"RGB"});
      EXPECT_TRUE(torch::equal(read_image(path, 3).to(torch::kFloat), expected))
          << name << " " << orientation;
    }
  }
}

TEST_F(Image, FindsDamagedWebP) {
  const std::string array = testing::write_array(folder_.file("pixels.npy"), pattern(64, 64));
  for (const std::string mode : {"quality=80", "lossless=1"}) {
    const std::string whole = folder_.file("whole.webp");
    testing::reference(folder_, "saved", array, {whole, mode});
    const std::string content = content_of(whole);
    EXPECT_EQ(read_image(whole, 3).sizes(), torch::IntArrayRef({64, 64, 3}));
    for (const double part : {0.02, 0.1, 0.3, 0.6, 0.95}) {
      const auto bytes = static_cast<size_t>(part * static_cast<double>(content.size()));
      const std::string path = folder_.write("cut.webp", content.substr(0, bytes));
      expect_data_error([&] { read_image(path, 3); }, {path});
    }
  }
}

TEST_F(Image, ReadsAPairAsOpticalFlow) {
  const auto save = [&](const std::string& name, int level, int64_t width) {
    testing::reference(
        folder_, "saved",
        testing::write_array(folder_.file("pixels.npy"), torch::full({8, width, 3}, level)),
        {folder_.file(name)});
  };
  save("u.png", 100, 9);
  save("v.png", 200, 9);
  save("wide.png", 200, 10);
  Options options = options_of({{"size", int64_t{8}}, {"channels", int64_t{2}}});
  const ImageDecoder decoder(options);
  const std::string cell = decoder.resolve("u.png|v.png", folder_.file(""));
  const torch::Tensor flow = decoder.decode(cell);
  ASSERT_EQ(flow.sizes(), torch::IntArrayRef({8, 9, 2}));
  EXPECT_EQ(flow[0][0][0].item<int>(), 100);
  EXPECT_EQ(flow[0][0][1].item<int>(), 200);
  EXPECT_NEAR(decoder.transform(flow, {})[1][0][0].item<double>(), (200 / 255.0 - 0.5) / 0.5, 1e-5);
  expect_data_error([&] { return decoder.resolve("u.png", folder_.file("")); }, {"u|v", "u.png"});
  expect_data_error(
      [&] { return decoder.decode(decoder.resolve("u.png|wide.png", folder_.file(""))); },
      {"wide.png", "9 x 8", "10 x 8"});
  expect_data_error([&] { decoder.check(decoder.resolve("u.png|none.png", folder_.file(""))); },
                    {"none.png"});
}

TEST(JitterColors, FollowsTheFormulas) {
  const torch::Tensor image = torch::tensor({0.8F, 0.1F, 0.2F, 0.5F, 0.4F, 0.9F}).view({3, 1, 2});
  const auto near = [](const torch::Tensor& found, const std::vector<double>& expected) {
    const torch::Tensor values = torch::tensor(expected, torch::kFloat);
    EXPECT_LT((found.flatten() - values).abs().max().item<double>(), 1e-5) << found;
  };
  near(jitter_colors(image, {1, 1, 1, 0}), {0.8, 0.1, 0.2, 0.5, 0.4, 0.9});
  near(jitter_colors(image, {1.5, 1, 1, 0}), {1.0, 0.15, 0.3, 0.75, 0.6, 1.0});
  // Grey of the two pixels: 0.40212 and 0.42599; their mean 0.414055.
  near(jitter_colors(image, {1, 0, 1, 0}), std::vector<double>(6, 0.414055));
  near(jitter_colors(image, {1, 1, 0, 0}), {0.40212, 0.42599, 0.40212, 0.42599, 0.40212, 0.42599});
  // A third of the circle turns red into green into blue.
  near(jitter_colors(image, {1, 1, 1, 1.0 / 3}), {0.4, 0.9, 0.8, 0.1, 0.2, 0.5});
  near(jitter_colors(torch::full({1, 1, 2}, 0.4F), {0.5, 1, 0.3, 0.2}), {0.2, 0.2});
}

TEST_F(Image, TransformScalesAndNormalizes) {
  const torch::Tensor image = torch::full({4, 4, 3}, 51, torch::kUInt8);  // 0.2 of white
  Options options = options_of({{"size", int64_t{4}}});
  const torch::Tensor result = ImageDecoder(options).transform(image, {});
  options.finish();
  ASSERT_EQ(result.sizes(), torch::IntArrayRef({3, 4, 4}));
  EXPECT_EQ(result.dtype(), torch::kFloat);
  EXPECT_NEAR(result[0][1][1].item<double>(), (0.2 - 0.485) / 0.229, 1e-5);
  EXPECT_NEAR(result[1][2][1].item<double>(), (0.2 - 0.456) / 0.224, 1e-5);
  EXPECT_NEAR(result[2][3][3].item<double>(), (0.2 - 0.406) / 0.225, 1e-5);
  Options grey = options_of({{"size", int64_t{4}}, {"channels", int64_t{1}}});
  const torch::Tensor one = ImageDecoder(grey).transform(image.narrow(2, 0, 1), {});
  EXPECT_NEAR(one.mean().item<double>(), (0.2 - 0.5) / 0.5, 1e-5);
  Options given = options_of({{"size", int64_t{4}},
                              {"mean", list_of({0.1, 0.2, 0.3})},
                              {"std", list_of({1.0, 2.0, 4.0})}});
  const torch::Tensor other = ImageDecoder(given).transform(image, {});
  EXPECT_NEAR(other[0][0][0].item<double>(), 0.1, 1e-6);
  EXPECT_NEAR(other[2][0][0].item<double>(), -0.025, 1e-6);
}

TEST_F(Image, CropsStayWithinTheirBounds) {
  ImageSettings settings;
  double smallest = 1;
  double largest = 0;
  for (int i = 0; i < 2000; ++i) {
    const Crop crop = random_crop(90, 120, settings, RandomStream(i));
    ASSERT_GE(crop.top, 0);
    ASSERT_GE(crop.left, 0);
    ASSERT_LE(crop.top + crop.height, 90);
    ASSERT_LE(crop.left + crop.width, 120);
    const double share = static_cast<double>(crop.height * crop.width) / (90 * 120);
    const double ratio = static_cast<double>(crop.width) / static_cast<double>(crop.height);
    ASSERT_GT(ratio, 0.75 * 0.95);
    ASSERT_LT(ratio, 4.0 / 3.0 * 1.05);
    smallest = std::min(smallest, share);
    largest = std::max(largest, share);
  }
  EXPECT_NEAR(smallest, 0.08, 0.01);
  EXPECT_GT(largest, 0.97);
}

TEST_F(Image, CropFallsBackToTheCentre) {
  ImageSettings settings;
  settings.crop_scale = {1.0, 1.0};
  settings.crop_ratio = {0.5, 1.0};
  const Crop wide = random_crop(100, 400, settings, RandomStream(1));
  EXPECT_EQ(std::tuple(wide.top, wide.left, wide.height, wide.width), std::tuple(0, 150, 100, 100));
  const Crop tall = random_crop(400, 100, settings, RandomStream(1));
  EXPECT_EQ(std::tuple(tall.top, tall.left, tall.height, tall.width), std::tuple(100, 0, 200, 100));
  const Crop line = random_crop(1, 5000, settings, RandomStream(1));
  EXPECT_EQ(std::tuple(line.height, line.width), std::tuple(1, 1));
}

TEST_F(Image, AugmentsInTrainingOnlyAndByItsContextAlone) {
  const torch::Tensor image = picture(40, 60);
  Options options = options_of({{"size", int64_t{16}}});
  const ImageDecoder decoder(options);
  const auto at = [&](uint64_t epoch, std::string_view id, bool training) {
    return decoder.transform(image, {.seed = 3, .epoch = epoch, .id = id, .training = training});
  };
  EXPECT_TRUE(torch::equal(at(1, "a", false), at(2, "b", false)));
  EXPECT_TRUE(torch::equal(at(1, "a", true), at(1, "a", true)));
  EXPECT_FALSE(torch::equal(at(1, "a", true), at(2, "a", true)));
  EXPECT_FALSE(torch::equal(at(1, "a", true), at(1, "b", true)));
  EXPECT_EQ(at(1, "a", true).sizes(), torch::IntArrayRef({3, 16, 16}));

  Options fixed = options_of({{"size", int64_t{16}}, {"augment", false}});
  const ImageDecoder plain(fixed);
  EXPECT_TRUE(
      torch::equal(plain.transform(image, {.id = "a", .training = true}), at(1, "a", false)));
}

TEST_F(Image, TwoModalitiesOfASampleAreCroppedApart) {
  const torch::Tensor image = picture(40, 60);
  Options options = options_of({{"size", int64_t{16}}});
  const ImageDecoder decoder(options);
  EXPECT_FALSE(
      torch::equal(decoder.transform(image, {.id = "a", .modality = "face", .training = true}),
                   decoder.transform(image, {.id = "a", .modality = "scene", .training = true})));
}

TEST_F(Image, FlipsAsOftenAsAsked) {
  const torch::Tensor image = picture(8, 8);
  for (const double probability : {0.0, 0.25, 1.0}) {
    Options options = options_of({{"size", int64_t{8}},
                                  {"crop_scale", list_of({1, 1})},
                                  {"crop_ratio", list_of({1, 1})},
                                  {"flip", probability}});
    const ImageDecoder decoder(options);
    const torch::Tensor whole = decoder.transform(image, {});
    int flipped = 0;
    for (int i = 0; i < 400; ++i) {
      const torch::Tensor result =
          decoder.transform(image, {.id = std::to_string(i), .training = true});
      const bool same = torch::equal(result, whole);
      ASSERT_TRUE(same || torch::equal(result, whole.flip(2)));
      flipped += same ? 0 : 1;
    }
    EXPECT_NEAR(flipped / 400.0, probability, 0.06);
  }
}

TEST_F(Image, RefusesBadSettings) {
  const auto build = [](const std::string& key, decltype(Value::data) value) {
    return [key, value] {
      Options options = options_of({{key, value}});
      ImageDecoder decoder(options);
    };
  };
  message_of<RecipeError>(build("channels", int64_t{4}));
  message_of<RecipeError>(build("color_jitter", list_of({0.1, 0.1, 0.1})));
  message_of<RecipeError>(build("color_jitter", list_of({0.1, 0.1, 0.1, 0.6})));
  EXPECT_NE(message_of<RecipeError>([] {
              Options options = options_of(
                  {{"channels", int64_t{2}}, {"color_jitter", list_of({0.1, 0.0, 0.0, 0.0})}});
              ImageDecoder decoder(options);
            }).find("optical flow has no colours"),
            std::string::npos);
  message_of<RecipeError>(build("size", int64_t{0}));
  message_of<RecipeError>(build("flip", 1.5));
  message_of<RecipeError>(build("crop_scale", list_of({0.5, 0.1})));
  message_of<RecipeError>(build("crop_scale", list_of({0.5})));
  message_of<RecipeError>(build("crop_scale", list_of({0.0, 0.5})));
  message_of<RecipeError>(build("crop_ratio", list_of({-1.0, 0.5})));
  message_of<RecipeError>(build("mean", list_of({0.5})));
  message_of<RecipeError>(build("std", list_of({0.5, 0.5, 0.0})));
}

}  // namespace
}  // namespace unbraid
