#include "unbraid/data/sensors.h"

#include <array>
#include <cmath>
#include <map>

#include <gtest/gtest.h>

#include "temporary_folder.h"
#include "unbraid/core/error.h"
#include "unbraid/data/manifest.h"
#include "unbraid/media/npy.h"

namespace unbraid {
namespace {

namespace fs = std::filesystem;
using unbraid::testing::read_text;
using unbraid::testing::TemporaryFolder;

const std::vector<std::string> kNames = {"vibration", "sound", "temperature", "current"};

SensorsOptions tiny(const TemporaryFolder& folder, const std::string& cache = "cache") {
  SensorsOptions options;
  options.train = 40;
  options.val = 10;
  options.test = 10;
  options.cache = (folder / cache).string();
  options.threads = 1;
  return options;
}

std::map<std::string, std::string> contents(const fs::path& folder) {
  std::map<std::string, std::string> all;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) {
      all[fs::relative(entry.path(), folder)] = read_text(entry.path());
    }
  }
  return all;
}

double correlation(const std::vector<double>& x, const std::vector<double>& y) {
  const auto count = static_cast<double>(x.size());
  double sx = 0, sy = 0, xx = 0, yy = 0, xy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    sx += x[i];
    sy += y[i];
    xx += x[i] * x[i];
    yy += y[i] * y[i];
    xy += x[i] * y[i];
  }
  return (xy - sx * sy / count) / std::sqrt((xx - sx * sx / count) * (yy - sy * sy / count));
}

TEST(Sensors, WritesTwoManifestsOfTheSameSeries) {
  const TemporaryFolder folder;
  SensorsOptions options = tiny(folder);
  const fs::path numbers = prepare_sensors(options);
  EXPECT_EQ(numbers.filename(), "regression.csv");
  options.target = SensorsOptions::Target::kMultilabel;
  bool called = false;
  const fs::path sets = prepare_sensors(options, [&](size_t, size_t) { called = true; });
  EXPECT_EQ(sets, numbers.parent_path() / "multilabel.csv");
  EXPECT_FALSE(called);

  const Manifest regression = Manifest::read(numbers.string(), kNames);
  const Manifest multilabel = Manifest::read(sets.string(), kNames);
  ASSERT_EQ(regression.rows.size(), 60);
  const std::array<std::vector<int64_t>, 4> shapes = {{{128, 3}, {256, 1}, {32, 1}, {64, 2}}};
  std::map<std::string, int> faults;
  for (size_t i = 0; i < regression.rows.size(); ++i) {
    const ManifestRow& row = regression.rows[i];
    EXPECT_EQ(row.cells, multilabel.rows[i].cells);
    EXPECT_EQ(row.id, multilabel.rows[i].id);
    const double strain = std::stod(row.label);
    EXPECT_GT(strain, -10);
    EXPECT_LT(strain, 110);
    ++faults[multilabel.rows[i].label];
    for (size_t m = 0; m < kNames.size(); ++m) {
      const NpyArray array(read_text(numbers.parent_path() / row.cells[m]), row.cells[m]);
      EXPECT_EQ(array.shape(), shapes.at(m)) << row.cells[m];
    }
  }
  EXPECT_GT(faults["-"], 0);
  EXPECT_GT(faults["imbalance"], 0);
  EXPECT_GT(faults.size(), 6U);
}

TEST(Sensors, GivesTheSameBytesWithAnyNumberOfThreads) {
  const TemporaryFolder folder;
  SensorsOptions options = tiny(folder, "first");
  const auto first = contents(fs::path(prepare_sensors(options)).parent_path());
  EXPECT_EQ(first.size(), 2 + 4 * 60U);
  options.threads = 3;
  options.cache = (folder / "second").string();
  EXPECT_EQ(contents(fs::path(prepare_sensors(options)).parent_path()), first);
  options.seed = 1;
  const auto other = contents(fs::path(prepare_sensors(options)).parent_path());
  for (const auto& [name, bytes] : first) {
    EXPECT_NE(other.at(name), bytes) << name;
  }
}

TEST(Sensors, LeavesCellsEmptyButOneAndTheOthersAsTheyWere) {
  const TemporaryFolder folder;
  SensorsOptions options = tiny(folder);
  options.train = 130;
  const fs::path whole = fs::path(prepare_sensors(options)).parent_path();
  for (const double missing : {0.4, 0.9}) {
    options.missing = missing;
    const fs::path path = prepare_sensors(options);
    ASSERT_NE(path.parent_path(), whole);
    int empty = 0;
    for (const ManifestRow& row : Manifest::read(path.string(), kNames).rows) {
      int present = 0;
      for (size_t m = 0; m < kNames.size(); ++m) {
        const fs::path file = fs::path(kNames[m]) / (row.id + ".npy");
        EXPECT_EQ(fs::exists(path.parent_path() / file), !row.cells[m].empty()) << file;
        if (!row.cells[m].empty()) {
          ++present;
          EXPECT_EQ(read_text(path.parent_path() / file), read_text(whole / file)) << file;
        }
      }
      EXPECT_GT(present, 0) << row.id;
      empty += 4 - present;
    }
    // A sample that would lack all of them keeps one.
    const double expected = missing - std::pow(missing, 4) / 4;
    EXPECT_NEAR(empty / (4.0 * 150), expected, 0.06);
  }
}

// What each series says of the load and the wear, by hand: of the strain's variance, load makes
// 300 / 437, wear 133 / 437.
TEST(Sensors, DifferInWhatTheyTellOfTheStrain) {
  const TemporaryFolder folder;
  SensorsOptions options = tiny(folder);
  options.train = 200;
  const fs::path path = prepare_sensors(options);
  std::vector<double> strain;
  std::array<std::vector<double>, 4> power;
  for (const ManifestRow& row : Manifest::read(path.string(), kNames).rows) {
    strain.push_back(std::stod(row.label));
    for (size_t m = 0; m < kNames.size(); ++m) {
      const NpyArray array(read_text(path.parent_path() / row.cells[m]), row.cells[m]);
      std::vector<float> values(static_cast<size_t>(array.size()));
      array.read(0, values);
      double sum = 0;
      for (const float value : values) {
        sum += kNames[m] == "temperature" ? value : value * value;
      }
      power.at(m).push_back(sum);
    }
  }
  const double strong = correlation(power[0], strain);
  const double noisy = correlation(power[1], strain);
  EXPECT_GT(strong, 0.6);
  EXPECT_GT(noisy, 0.3);
  EXPECT_LT(noisy, strong - 0.05);
  EXPECT_GT(correlation(power[2], strain), 0.3);
  EXPECT_LT(correlation(power[2], strain), 0.65);
  EXPECT_LT(std::abs(correlation(power[3], strain)), 0.3);
}

TEST(Sensors, RefusesOptionsOutOfRange) {
  const TemporaryFolder folder;
  SensorsOptions options = tiny(folder);
  options.missing = 0.95;
  EXPECT_THROW(prepare_sensors(options), RecipeError);
  options.missing = std::nan("");
  EXPECT_THROW(prepare_sensors(options), RecipeError);
  EXPECT_FALSE(fs::exists(options.cache));
}

}  // namespace
}  // namespace unbraid
