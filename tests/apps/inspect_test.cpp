// What `unbraid inspect` refuses.
#include "apps/command_line.h"
#include "unbraid/media/png_encoder.h"

namespace unbraid {
namespace {

using testing::Outcome;
using testing::read_text;
using testing::unbraid_program;
using testing::write_text;

class InspectCommand : public testing::CommandLine {
 protected:
  [[nodiscard]] Outcome inspect(const std::filesystem::path& sheet,
                                const std::string& more = "") const {
    return unbraid_program(
        fmt::format("inspect {} --sheet {} {}", recipe().string(), sheet.string(), more));
  }

  /// A recipe of pictures, one of them in a folder of frames.
  void write_pictures() const {
    const std::vector<uint8_t> pixels(16 * 16, 100);
    std::filesystem::create_directories(folder_ / "pictures/frames");
    for (const char* name : {"a.png", "b.png", "frames/1.png"}) {
      write_text(folder_ / "pictures" / name, encode_png(16, 16, 1, pixels));
    }
    write_text(folder_ / "manifest.csv",
               "id,split,label,left,right\na,train,0,pictures/a.png,pictures/frames\n"
               "b,val,1,pictures/b.png,pictures/frames\n");
    write_text(recipe(),
               "[data]\nmanifest = \"manifest.csv\"\nbatch_size = 1\n"
               "[modalities.left]\nkind = \"image\"\nsize = 16\nchannels = 1\n"
               "encoder = { type = \"cnn\", in_channels = 1, channels = [4, 4] }\n"
               "[modalities.right]\nkind = \"video\"\nsize = 16\nchannels = 1\n"
               "encoder = { type = \"cnn\", in_channels = 1, channels = [4, 4] }\n"
               "[fusion]\ntype = \"concat\"\n[task]\ntype = \"classification\"\nclasses = 2\n"
               "[method]\ntype = \"dgl\"\n[optimizer]\ntype = \"sgd\"\n");
  }
};

TEST_F(InspectCommand, DoesNotReplaceASample) {
  write_pictures();
  const std::string before = read_text(folder_ / "pictures/b.png");
  for (const std::string file : {"a.png", "b.png", "frames/1.png"}) {
    expect_error(inspect(folder_ / "pictures" / file), 2, "is of the data set (");
  }
  std::filesystem::create_symlink("pictures/b.png", folder_ / "link.png");
  expect_error(inspect(folder_ / "link.png"), 2, "manifest.csv:3: left); name another file");
  EXPECT_EQ(read_text(folder_ / "pictures/b.png"), before);
  // Beside them there is no harm, nor in a second time.
  for (int i = 0; i < 2; ++i) {
    const Outcome outcome = inspect(folder_ / "pictures/sheet.png");
    EXPECT_EQ(outcome.code, 0) << outcome.output;
  }
}

TEST_F(InspectCommand, WarnsOfAClassWithoutTrainingSamples) {
  const std::string warning = "warning: expected training samples of every class, found none of ";
  EXPECT_EQ(inspect(folder_ / "sheet.png").output.find(warning), std::string::npos);
  write_text(folder_ / "manifest.csv", read_text(folder_ / "manifest.csv") + "x,test,3,0,0\n");
  const Outcome outcome = inspect(folder_ / "sheet.png", "--set task.classes=4");
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_NE(outcome.output.find(warning + "3\n"), std::string::npos) << outcome.output;
}

TEST_F(InspectCommand, WarnsOfNoVal) {
  const std::string warning = "warning: expected rows of the split val, which training needs";
  EXPECT_EQ(inspect(folder_ / "sheet.png").output.find(warning), std::string::npos);
  std::string manifest = read_text(folder_ / "manifest.csv");
  for (size_t at = 0; (at = manifest.find(",val,")) != std::string::npos;) {
    manifest.replace(at, 5, ",test,");
  }
  write_text(folder_ / "manifest.csv", manifest);
  const Outcome outcome = inspect(folder_ / "sheet.png");
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_NE(outcome.output.find(warning), std::string::npos) << outcome.output;
}

TEST_F(InspectCommand, FindsThatTheModelDoesNotTakeTheData) {
  const Outcome outcome =
      inspect(folder_ / "sheet.png", "--set 'modalities.left.encoder.layers=[5, 8]'");
  EXPECT_EQ(outcome.code, 3);
  EXPECT_NE(outcome.output.find("modalities.left.encoder: does not take samples of the shape [4]"),
            std::string::npos)
      << outcome.output;
  EXPECT_NE(outcome.output.find("from left to right left, right"), std::string::npos);
  EXPECT_EQ(inspect(folder_ / "sheet.png").code, 0);
}

}  // namespace
}  // namespace unbraid
