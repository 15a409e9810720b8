#include "unbraid/data/manifest_data_set.h"

#include <mutex>
#include <set>

#include "media/fixtures.h"

namespace unbraid {
namespace {

using testing::expect_data_error;
using testing::TemporaryFolder;

// Writes its inputs down; cells that end in "bad" fail, at check when they end in "-check-bad".
class RecordingDecoder final : public Decoder {
 public:
  explicit RecordingDecoder(bool paths) : paths_(paths) {}

  [[nodiscard]] std::string resolve(const std::string& cell,
                                    const std::string& folder) const override {
    return paths_ ? Decoder::resolve(cell, folder) : cell;
  }
  void check(const std::string& cell) const override {
    checked.insert(cell);
    if (cell.ends_with("check-bad")) {
      throw DataError(cell + ": is not there");
    }
  }
  [[nodiscard]] torch::Tensor decode(const std::string& cell) const override {
    if (cell.ends_with("bad")) {
      throw DataError(cell + ": is damaged");
    }
    return torch::full({2}, static_cast<double>(cell.size()));
  }
  [[nodiscard]] torch::Tensor transform(const torch::Tensor& decoded,
                                        const SampleContext& context) const override {
    seen = fmt::format("{} {} {} {} {}", context.seed, context.epoch, context.id, context.modality,
                       context.training);
    return decoded + 1;
  }

  mutable std::set<std::string> checked;
  mutable std::string seen;

 private:
  bool paths_;
};

torch::Tensor number(const std::string& label) {
  if (label == "?") {
    throw DataError("expected a number, found '?'");
  }
  return torch::tensor(static_cast<int64_t>(std::stoll(label)));
}

class ManifestData : public ::testing::Test {
 protected:
  ManifestDataSet open(const std::string& rows, Split split = Split::kTrain) {
    path_ = folder_.write("m.csv", "id,split,label,audio,lips\n" + rows);
    auto manifest = std::make_shared<const Manifest>(Manifest::read(path_, {"audio", "lips"}));
    return {manifest, split, {{"audio", files_}, {"lips", rows_}}, number, 9};
  }

  TemporaryFolder folder_;
  std::string path_;
  std::shared_ptr<RecordingDecoder> files_ = std::make_shared<RecordingDecoder>(true);
  std::shared_ptr<RecordingDecoder> rows_ = std::make_shared<RecordingDecoder>(false);
};

TEST_F(ManifestData, HoldsTheRowsOfItsSplit) {
  const std::string rows = "a,train,5,x,1\nb,test,6,y,2\nc,train,7,z,3\n";
  const ManifestDataSet train = open(rows);
  ASSERT_EQ(train.size(), 2);
  EXPECT_EQ(train.id(0), "a");
  EXPECT_EQ(train.id(1), "c");
  EXPECT_EQ(train.get(1, 0, false).target.item<int64_t>(), 7);
  EXPECT_EQ(open(rows, Split::kTest).id(0), "b");
  EXPECT_EQ(open(rows, Split::kVal).size(), 0);
}

TEST_F(ManifestData, TakesPathsFromTheManifestsFolder) {
  open("a,train,0,sub/x.wav,12\nb,train,0,/abs/y.wav,13\n");
  EXPECT_EQ(files_->checked, (std::set<std::string>{folder_.file("sub/x.wav"), "/abs/y.wav"}));
  EXPECT_EQ(rows_->checked, (std::set<std::string>{"12", "13"}));
}

TEST_F(ManifestData, DecodesAndTransformsEveryModality) {
  const ManifestDataSet data = open("a,train,5,/12345,123\n");
  const Sample sample = data.get(0, 4, true);
  ASSERT_EQ(sample.inputs.size(), 2);
  EXPECT_TRUE(torch::equal(sample.inputs[0], torch::tensor({7.F, 7.F})));
  EXPECT_TRUE(torch::equal(sample.inputs[1], torch::tensor({4.F, 4.F})));
  EXPECT_EQ(sample.target.item<int64_t>(), 5);
  EXPECT_EQ(files_->seen, "9 4 a audio true");
  EXPECT_EQ(rows_->seen, "9 4 a lips true");
  (void)data.get(0, 3, false);
  EXPECT_EQ(rows_->seen, "9 3 a lips false");
}

TEST_F(ManifestData, SaysWhichRowIsWrong) {
  expect_data_error([&] { open("a,train,0,x,1\nb,train,0,x-check-bad,1\n"); },
                    {"m.csv:3: audio: ", "x-check-bad: is not there"});
  expect_data_error([&] { open("a,train,?,x,1\n"); }, {"m.csv:2: expected a number, found '?'"});
  EXPECT_NO_THROW(open("a,train,0,x,1\nb,test,?,x-check-bad,\n"));  // another split's rows
  const ManifestDataSet data = open("a,train,0,x,1\nb,train,0,x,7-bad\n");
  EXPECT_EQ(data.get(0, 0, true).inputs.size(), 2);
  expect_data_error([&] { return data.get(1, 0, true); }, {"m.csv:3: lips: 7-bad: is damaged"});
}

TEST_F(ManifestData, AnEmptyCellIsAMissingModality) {
  const ManifestDataSet data = open("a,train,0,x,\nb,train,0,/12345,123\n");
  const Sample sample = data.get(0, 0, true);
  EXPECT_TRUE(sample.inputs[0].defined());
  EXPECT_FALSE(sample.inputs[1].defined());
  EXPECT_FALSE(data.has(0, 1));
  EXPECT_TRUE(data.has(1, 1));
  EXPECT_TRUE(data.get(1, 0, true).inputs[1].defined());
}

TEST_F(ManifestData, LabelsThatAreFilesAreCheckedAtOnceAndReadWithTheirSample) {
  path_ = folder_.write("m.csv",
                        "id,split,label,audio\na,train,l/12,x\nb,train,l-bad,x\n"
                        "c,test,l-check-bad,x\n");
  const auto labels = std::make_shared<RecordingDecoder>(true);
  const auto manifest = std::make_shared<const Manifest>(Manifest::read(path_, {"audio"}));
  const ManifestDataSet data(manifest, Split::kTrain, {{"audio", rows_}}, labels, 9);
  ASSERT_EQ(data.size(), 2);
  EXPECT_EQ(labels->checked, (std::set<std::string>{folder_.file("l/12"), folder_.file("l-bad")}));
  EXPECT_EQ(labels->seen, "");
  const auto length = static_cast<float>(folder_.file("l/12").size());
  EXPECT_TRUE(torch::equal(data.get(0, 4, true).target, torch::tensor({length + 1, length + 1})));
  EXPECT_EQ(labels->seen, "9 4 a label true");
  expect_data_error([&] { return data.get(1, 0, true); }, {"m.csv:3: label: ", "is damaged"});
  const auto open_test = [&](bool skip_damaged) {
    return ManifestDataSet(manifest, Split::kTest, {{"audio", rows_}}, labels, 9, skip_damaged);
  };
  expect_data_error([&] { open_test(false); }, {"m.csv:4: label: ", "is not there"});
  EXPECT_EQ(open_test(true).dropped().size(), 1);
}

TEST_F(ManifestData, RefusesAManifestReadForOtherModalities) {
  const std::string path = folder_.write("m.csv", "id,split,label\na,train,0\n");
  auto manifest = std::make_shared<const Manifest>(Manifest::read(path, {}));
  EXPECT_THROW(ManifestDataSet(manifest, Split::kTrain, {{"audio", files_}}, number, 0),
               std::invalid_argument);
}

}  // namespace
}  // namespace unbraid
