// The embedded data set of four time series, from its recipes to tested models.
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "temporary_folder.h"
#include "unbraid/data/manifest.h"

namespace unbraid {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using unbraid::testing::read_text;
using unbraid::testing::TemporaryFolder;

class SensorsSlow : public ::testing::Test {
 protected:
  /// Trains a recipe of recipes/sensors on one thread; what summary.json says of test.
  json summary_of(const std::string& recipe, const std::string& more) {
    const std::string out = (folder_ / fmt::format("run{}", runs_++)).string();
    const std::string log = (folder_ / "log").string();
    const std::string command = fmt::format(
        "OMP_NUM_THREADS=1 {} train {}/recipes/sensors/{}.toml --set data.cache_folder={} {} --out "
        "{} >{} 2>&1 </dev/null",
        UNBRAID_PROGRAM, UNBRAID_SOURCE_DIR, recipe, (folder_ / "cache").string(), more, out, log);
    EXPECT_EQ(std::system(command.c_str()), 0) << command << "\n" << read_text(log);
    return json::parse(read_text(fs::path(out) / "summary.json"));
  }

  /// Mean distance of the test labels from the mean of the training labels.
  [[nodiscard]] double error_of_the_mean() const {
    double sum = 0;
    double count = 0;
    std::vector<double> test;
    const fs::path set = *fs::directory_iterator(folder_ / "cache");
    for (const ManifestRow& row : Manifest::read((set / "regression.csv").string(), {}).rows) {
      const double label = std::stod(row.label);
      if (row.split == Split::kTrain) {
        sum += label;
        ++count;
      } else if (row.split == Split::kTest) {
        test.push_back(label);
      }
    }
    double error = 0;
    for (const double label : test) {
      error += std::abs(label - sum / count) / static_cast<double>(test.size());
    }
    return error;
  }

  TemporaryFolder folder_;
  int runs_ = 0;
};

TEST_F(SensorsSlow, StrainIsLearnedFromAllFourBest) {
  const json summary = summary_of("regression", "--set train.epochs=8");
  const double chance = error_of_the_mean();
  const double fused = summary["mae"];
  EXPECT_LT(fused, 0.4 * chance);
  EXPECT_GT(summary["pearson"], 0.9);
  const json& alone = summary["mae_alone"];
  const double vibration = alone["vibration"];
  const double temperature = alone["temperature"];
  // Strong, complementary, noisy, weak; none of them is enough.
  EXPECT_LT(fused, 0.7 * vibration);
  EXPECT_LT(vibration, temperature);
  EXPECT_LT(temperature, 0.95 * chance);
  EXPECT_LT(alone["sound"], 0.95 * chance);
  EXPECT_GT(alone["sound"], 1.1 * vibration);
  EXPECT_GT(alone["current"], 0.9 * chance);
  EXPECT_EQ(summary["best_by"], "mae");
}

TEST_F(SensorsSlow, FaultsAreLearnedFromAllFourBest) {
  const json summary = summary_of("multilabel", "--set train.epochs=8");
  const double fused = summary["mAP"];
  EXPECT_GT(fused, 0.75);  // three in ten samples have a fault: chance is 0.3
  for (const auto& [name, value] : summary["mAP_alone"].items()) {
    EXPECT_LT(value, fused - 0.1) << name;
    EXPECT_GT(value, 0.3) << name;
  }
  EXPECT_LT(summary["mAP_alone"]["current"], summary["mAP_alone"]["vibration"]);
  EXPECT_GT(summary["micro_f1"], 0.6);
}

TEST_F(SensorsSlow, MissingCellsCostAccuracyNotTheRun) {
  const json summary = summary_of("regression", "--set train.epochs=8 --set data.missing=0.3");
  const double chance = error_of_the_mean();
  EXPECT_LT(summary["mae"], 0.7 * chance);
}

}  // namespace
}  // namespace unbraid
