// Segmentation through the program, on the embedded data set.
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "temporary_folder.h"

namespace unbraid {
namespace {

using unbraid::testing::read_text;
using unbraid::testing::TemporaryFolder;

class SegmentationSlow : public ::testing::Test {
 protected:
  /// On one thread: the same on every machine.
  void unbraid(const std::string& arguments) {
    const std::string log = (folder_ / "log").string();
    const std::string command =
        fmt::format("OMP_NUM_THREADS=1 {} {} >{} 2>&1 </dev/null", UNBRAID_PROGRAM, arguments, log);
    ASSERT_EQ(std::system(command.c_str()), 0) << command << "\n" << read_text(log);
    output_ = read_text(log);
  }

  /// The first metric in the line of `row`, as training and `eval` print it.
  [[nodiscard]] double miou(const std::string& row) const {
    const size_t place = output_.rfind("\n" + row + " ");
    double loss = 0;
    double value = 0;
    EXPECT_NE(place, std::string::npos) << output_;
    EXPECT_EQ(std::sscanf(output_.c_str() + place + row.size() + 1, "%lf %lf", &loss, &value), 2)
        << output_;
    return value;
  }

  TemporaryFolder folder_;
  std::string output_;
};

TEST_F(SegmentationSlow, LearnsFromColorAndDepthTogetherAndScoresEachAlone) {
  const std::string recipe = fmt::format(
      "{}/recipes/rgbd-shapes/dgl.toml --set data.cache_folder={} "
      "--set data.train=240 --set data.val=40 --set data.test=60",
      UNBRAID_SOURCE_DIR, folder_.path().string());
  const std::string sheet = (folder_ / "sheet.png").string();
  unbraid(fmt::format("inspect {} --sheet {} --samples 12", recipe, sheet));
  EXPECT_NE(output_.find("a file each                  240      40      60"), std::string::npos)
      << output_;
  EXPECT_NE(output_.find("from left to right color, depth, label"), std::string::npos) << output_;
  const std::string run = (folder_ / "run").string();
  unbraid(fmt::format("train {} --set train.epochs=8 --out {}", recipe, run));
  EXPECT_NE(output_.find("miou    accuracy"), std::string::npos) << output_;
  const double fused = miou("fused");
  // Calling every pixel table gives about 0.1: three quarters of one class of seven.
  EXPECT_GT(fused, 0.2);
  EXPECT_GT(fused, miou("color alone"));
  EXPECT_GT(fused, miou("depth alone"));
  unbraid(fmt::format("eval {}", run));
  EXPECT_NEAR(miou("fused"), fused, 1e-4);
  const double color = miou("color alone");
  unbraid(fmt::format("eval {} --absent depth", run));
  EXPECT_NEAR(miou("fused"), color, 1e-4);
}

}  // namespace
}  // namespace unbraid
