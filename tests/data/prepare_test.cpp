#include "unbraid/data/prepare/prepare.h"

#include <algorithm>
#include <set>

#include "media/reference.h"
#include "unbraid/core/error.h"
#include "unbraid/data/csv.h"
#include "unbraid/data/prepare/class_names.h"
#include "unbraid/media/file.h"

namespace unbraid {
namespace {

namespace fs = std::filesystem;
using testing::expect_data_error;
using testing::message_of;
using testing::TemporaryFolder;

/// Trees of files as data sets are published; what is in them does not matter here.
class Prepare : public ::testing::Test {
 protected:
  void file(const std::string& name, size_t bytes = 1000) {
    fs::create_directories(fs::path(folder_.file(name)).parent_path());
    static_cast<void>(folder_.write(name, std::string(bytes, 'x')));
  }
  void frames(const std::string& name, int count) {
    for (int i = 0; i < count; ++i) {
      file(fmt::format("{}/{:05}.jpg", name, i));
    }
  }
  [[nodiscard]] PrepareOptions options() const {
    return {.raw = folder_.file("raw"), .split_lists = {}, .seed = 0, .classes = {}};
  }
  static std::map<std::string, const PreparedSample*> by_id(const Prepared& prepared) {
    std::map<std::string, const PreparedSample*> samples;
    for (const PreparedSample& sample : prepared.samples) {
      samples[sample.id] = &sample;
    }
    return samples;
  }
  static std::map<Split, std::set<std::string>> groups(
      const Prepared& prepared, const std::function<std::string(const std::string&)>& group) {
    std::map<Split, std::set<std::string>> found;
    for (const PreparedSample& sample : prepared.samples) {
      found[*sample.split].insert(group(sample.id));
    }
    return found;
  }

  /// 20 actors, one clip of each emotion.
  void write_cremad() {
    for (int actor = 1001; actor <= 1020; ++actor) {
      for (const char* emotion : {"NEU", "HAP", "SAD", "FEA", "DIS", "ANG"}) {
        const std::string clip = fmt::format("{}_DFA_{}_XX", actor, emotion);
        file("raw/AudioWAV/" + clip + ".wav");
        file("raw/VideoFlash/" + clip + ".flv");
      }
    }
  }

  TemporaryFolder folder_;
};

TEST_F(Prepare, CremadIsSplitByActor) {
  write_cremad();
  const Prepared prepared = prepare("cremad", options());
  EXPECT_EQ(prepared.modalities, (std::vector<std::string>{"audio", "face"}));
  EXPECT_EQ(prepared.classes, (std::vector<std::string>{"NEU", "HAP", "SAD", "FEA", "DIS", "ANG"}));
  ASSERT_EQ(prepared.samples.size(), 120);
  const auto actors = groups(prepared, [](const std::string& id) { return id.substr(0, 4); });
  EXPECT_EQ(actors.at(Split::kTest).size(), 2);
  EXPECT_EQ(actors.at(Split::kVal).size(), 2);
  EXPECT_EQ(actors.at(Split::kTrain).size(), 16);
  for (const std::string& actor : actors.at(Split::kTest)) {
    EXPECT_FALSE(actors.at(Split::kTrain).contains(actor));
    EXPECT_FALSE(actors.at(Split::kVal).contains(actor));
  }
  const PreparedSample& one = *by_id(prepared).at("1003_DFA_SAD_XX");
  EXPECT_EQ(one.label, "SAD");
  EXPECT_EQ(one.cells[1], folder_.file("raw/VideoFlash/1003_DFA_SAD_XX.flv"));
  // The same seed gives the same split, another one another.
  EXPECT_EQ(manifest_of(prepare("cremad", options()), folder_.file("")),
            manifest_of(prepared, folder_.file("")));
  PrepareOptions other = options();
  other.seed = 1;
  EXPECT_NE(manifest_of(prepare("cremad", other), folder_.file("")),
            manifest_of(prepared, folder_.file("")));
}

TEST_F(Prepare, CremadPrefersExtractedFramesAndNamesWhatIsNotWhole) {
  write_cremad();
  for (int actor = 1001; actor <= 1020; ++actor) {
    for (const char* emotion : {"NEU", "HAP", "SAD", "FEA", "DIS", "ANG"}) {
      frames(fmt::format("raw/Image-01-FPS/{}_DFA_{}_XX", actor, emotion), 2);
    }
  }
  fs::remove_all(folder_.file("raw/Image-01-FPS/1001_DFA_NEU_XX"));
  fs::remove(folder_.file("raw/Image-01-FPS/1002_DFA_NEU_XX/00000.jpg"));
  fs::remove(folder_.file("raw/Image-01-FPS/1002_DFA_NEU_XX/00001.jpg"));
  fs::remove(folder_.file("raw/AudioWAV/1003_DFA_NEU_XX.wav"));
  file("raw/AudioWAV/1004_DFA_NEU_XX.wav", 44);
  const Prepared prepared = prepare("cremad", options());
  EXPECT_EQ(prepared.samples.size(), 116);
  EXPECT_EQ(prepared.left_out, (std::map<std::string, std::vector<std::string>>{
                                   {"without face", {"1001_DFA_NEU_XX"}},
                                   {"face too short", {"1002_DFA_NEU_XX"}},
                                   {"without audio", {"1003_DFA_NEU_XX"}},
                                   {"audio too short", {"1004_DFA_NEU_XX"}}}));
  EXPECT_EQ(by_id(prepared).at("1005_DFA_NEU_XX")->cells[1],
            folder_.file("raw/Image-01-FPS/1005_DFA_NEU_XX"));
  const std::string report = report_of(prepared);
  EXPECT_NE(report.find("left out, audio too short: 1 (1004_DFA_NEU_XX)"), std::string::npos)
      << report;
  EXPECT_NE(report.find("by actor"), std::string::npos) << report;
}

TEST_F(Prepare, TakesPublishedListsAndMakesAVal) {
  write_cremad();
  std::string train = "\xef\xbb\xbf";
  std::string test;
  for (int actor = 1001; actor <= 1020; ++actor) {
    for (const char* emotion : {"NEU", "HAP", "SAD", "FEA", "DIS", "ANG"}) {
      (emotion == std::string("ANG") && actor < 1010 ? test : train) +=
          fmt::format("{}_DFA_{}_XX,{}\r\n", actor, emotion, emotion);
    }
  }
  train += "9999_DFA_NEU_XX,NEU\r\n";
  const auto without = train.find("1020_DFA_NEU_XX,NEU\r\n");
  train.erase(without, 21);
  PrepareOptions lists = options();
  lists.split_lists = {{Split::kTrain, folder_.write("train.csv", train)},
                       {Split::kTest, folder_.write("test.csv", test)}};
  const Prepared prepared = prepare("cremad", lists);
  size_t counts[3] = {};
  std::set<std::string> actors[3];
  for (const PreparedSample& sample : prepared.samples) {
    const auto split = static_cast<size_t>(*sample.split);
    ++counts[split];
    actors[split].insert(sample.id.substr(0, 4));
  }
  EXPECT_EQ(counts[2], 9);
  EXPECT_EQ(counts[0] + counts[1], 120 - 1 - 9);
  // val has all of what train had of two of the twenty actors.
  EXPECT_EQ(actors[1].size(), 2);
  EXPECT_EQ(actors[0].size(), 18);
  for (const std::string& actor : actors[1]) {
    EXPECT_FALSE(actors[0].contains(actor)) << actor;
  }
  EXPECT_NE(prepared.how_split.find("val: one in ten of the actors of train"), std::string::npos);
  EXPECT_EQ(prepared.left_out.at("in no split list"),
            (std::vector<std::string>{"1020_DFA_NEU_XX"}));
  EXPECT_EQ(prepared.left_out.at("listed, but not there whole"),
            (std::vector<std::string>{"9999_DFA_NEU_XX"}));
  lists.split_lists.emplace_back(Split::kVal, folder_.write("val.csv", "1001_DFA_ANG_XX\n"));
  expect_data_error([&] { return prepare("cremad", lists); },
                    {"val.csv:1", "1001_DFA_ANG_XX", "in the list of test too"});
}

TEST_F(Prepare, NamesTheClassesThatAreMissingOrTooMany) {
  fs::create_directories(folder_.file("raw"));
  static_cast<void>(folder_.write(
      "raw/trainSet.txt", "Church bell&a&good&0&10\nchurch bell&b&good&2&8\nBark&e&good&0&1\n"));
  static_cast<void>(folder_.write("raw/valSet.txt", "Church bell&c&good&0&10\n"));
  static_cast<void>(folder_.write("raw/testSet.txt", "Church bell&d&good&0&10\n"));
  for (const char* clip : {"a", "b", "c", "d", "e"}) {
    file(fmt::format("raw/AVE/{}.mp4", clip));
  }
  expect_data_error([&] { return prepare("ave", options()); },
                    {"expected 28 classes of ave, found 3: without Accordion, Acoustic guitar,",
                     "Violin, fiddle; with ones that are not its own: church bell; --classes 3"});
  // Of the two recipes, which name them too.
  for (const auto& [recipe, names] :
       {std::pair<std::string, std::span<const std::string_view>>{"ave", kAveClasses},
        {"ucf101", kUcf101Classes}}) {
    const std::string text =
        testing::content_of(fmt::format("{}/recipes/{}/dgl.toml", UNBRAID_SOURCE_DIR, recipe));
    for (const std::string_view name : names) {
      EXPECT_NE(text.find(fmt::format("\"{}\"", name)), std::string::npos) << name;
    }
  }
}

TEST_F(Prepare, RefusesAListOfWhichNothingIsThere) {
  write_cremad();
  PrepareOptions lists = options();
  lists.split_lists = {{Split::kTrain, folder_.write("train.csv", "1001_DFA_NEU_XX\n")},
                       {Split::kTest, folder_.write("test.csv", "nobody\n")}};
  expect_data_error([&] { return prepare("cremad", lists); },
                    {"test.csv: expected clips of", "it lists none that is there whole",
                     "in no split list: 119"});
}

TEST_F(Prepare, WithoutWholeClipsTheReasonIsSaid) {
  write_cremad();
  fs::remove_all(folder_.file("raw/VideoFlash"));
  expect_data_error(
      [&] { return prepare("cremad", options()); },
      {"expected whole clips of cremad, found none; without face: 120, such as 1001"});
  frames("raw/Image-01-FPS/1001_DFA_NEU_XX", 2);
  expect_data_error([&] { return prepare("cremad", options()); },
                    {"at least 3 actors to split by, found 1; without face: 119"});
}

TEST_F(Prepare, HiddenFilesAreNotThere) {
  write_cremad();
  file("raw/AudioWAV/._1001_DFA_NEU_XX.wav");
  file("raw/VideoFlash/._1001_DFA_NEU_XX.flv");
  EXPECT_EQ(prepare("cremad", options()).samples.size(), 120);
  EXPECT_TRUE(is_image_name("a/b.JPG"));
  EXPECT_FALSE(is_image_name("a/._b.jpg"));
}

TEST_F(Prepare, RefusesAnotherLayoutAndOtherClasses) {
  expect_data_error([&] { return prepare("cremad", options()); }, {"raw", "AudioWAV"});
  write_cremad();
  file("raw/AudioWAV/1001_DFA_JOY_XX.wav");
  file("raw/VideoFlash/1001_DFA_JOY_XX.flv");
  expect_data_error([&] { return prepare("cremad", options()); },
                    {"an emotion of NEU HAP SAD FEA DIS ANG", "1001_DFA_JOY_XX"});
  fs::remove(folder_.file("raw/AudioWAV/1001_DFA_JOY_XX.wav"));
  fs::remove(folder_.file("raw/VideoFlash/1001_DFA_JOY_XX.flv"));
  for (int actor = 1001; actor <= 1020; ++actor) {
    fs::remove(folder_.file(fmt::format("raw/AudioWAV/{}_DFA_ANG_XX.wav", actor)));
  }
  expect_data_error([&] { return prepare("cremad", options()); }, {"found none of ANG"});
  EXPECT_NE(message_of<Error>([&] { prepare("cremda", options()); }).find("did you mean cremad?"),
            std::string::npos);
}

TEST_F(Prepare, KineticsSoundsArePairedByClip) {
  for (const char* name : {"blowing_nose", "tap_dancing"}) {
    for (int clip = 0; clip < 20; ++clip) {
      file(fmt::format("raw/audio/train/{}/c{}.wav", name, clip));
      frames(fmt::format("raw/visual/train_img/Image-01-FPS/{}/c{}", name, clip), 3);
    }
    file(fmt::format("raw/audio/test/{}/t.wav", name));
    frames(fmt::format("raw/visual/val_img/Image-01-FPS/{}/t", name), 3);
  }
  frames("raw/visual/train_img/Image-01-FPS/tap_dancing/two", 2);
  file("raw/audio/train/tap_dancing/two.wav");
  file("raw/audio/train/tap_dancing/c3.wav", 199);
  expect_data_error([&] { return prepare("kinetics-sounds", options()); },
                    {"expected 31 classes", "found 2: blowing_nose, tap_dancing", "--classes 2"});
  PrepareOptions two = options();
  two.classes = 2;
  const Prepared prepared = prepare("kinetics-sounds", two);
  EXPECT_EQ(prepared.samples.size(), 41);
  EXPECT_EQ(prepared.left_out, (std::map<std::string, std::vector<std::string>>{
                                   {"audio too short", {"tap_dancing/c3"}},
                                   {"visual too short", {"tap_dancing/two"}}}));
  EXPECT_EQ(*by_id(prepared).at("tap_dancing/t")->split, Split::kTest);
  EXPECT_EQ(groups(prepared, [](const std::string& id) { return id; }).at(Split::kVal).size(), 4);
}

TEST_F(Prepare, VggSoundFollowsItsListWithFramesOrVideos) {
  static_cast<void>(folder_.write("vggsound.csv", ""));
  fs::create_directories(folder_.file("raw"));
  static_cast<void>(folder_.write(
      "raw/vggsound.csv",
      "--ab,30,playing harp,train\n--ab,30,another,test\n_cd,5,\"dog, barking\",train\n"
      "ij,7,playing harp,train\n"
      "ef,110,playing harp,test\ngh,0,playing harp,test\n"));
  file("raw/audio/train-audios/train-set/--ab_000030.wav");
  frames("raw/video/train-set-img/Image-01-FPS/--ab_000030.mp4", 3);
  file("raw/video/_cd_000005.mp4");
  file("raw/video/ij_000007.mp4");
  file("raw/audio/test-audios/test-set/ef_000110.wav");
  PrepareOptions two = options();
  two.classes = 2;
  const Prepared prepared = prepare("vggsound", two);
  const auto samples = by_id(prepared);
  ASSERT_EQ(samples.size(), 3);
  EXPECT_EQ(samples.at("--ab_000030")->label, "playing harp");
  EXPECT_EQ(samples.at("_cd_000005")->cells[0], samples.at("_cd_000005")->cells[1]);
  EXPECT_EQ(samples.at("_cd_000005")->label, "dog, barking");
  EXPECT_EQ(prepared.left_out, (std::map<std::string, std::vector<std::string>>{
                                   {"listed twice", {"--ab_000030"}},
                                   {"listed, but not there", {"gh_000000"}},
                                   {"without visual", {"ef_000110"}}}));
  static_cast<void>(folder_.write("raw/vggsound.csv", "--ab,xx,playing harp,train\n"));
  expect_data_error([&] { prepare("vggsound", two); }, {"vggsound.csv:1", "start in seconds"});
  static_cast<void>(folder_.write("raw/vggsound.csv", "gone,1,playing harp,train\n"));
  expect_data_error([&] { prepare("vggsound", two); },
                    {"found none; listed, but not there: 1, such as gone_000001"});
}

TEST_F(Prepare, AveFollowsItsLists) {
  fs::create_directories(folder_.file("raw"));
  static_cast<void>(folder_.write("raw/trainSet.txt",
                                  "\xef\xbb\xbf"
                                  "Church bell&a&good&0&10\nMandolin&b&good&2&8\n"
                                  "Church bell&a&good&3&5\n"));
  static_cast<void>(folder_.write("raw/valSet.txt", "Church bell&c&good&0&10\n"));
  static_cast<void>(folder_.write("raw/testSet.txt", "Mandolin&d&good&0&10\r\n"));
  for (const char* clip : {"a", "b", "c", "d"}) {
    file(fmt::format("raw/AVE/{}.mp4", clip));
  }
  PrepareOptions two = options();
  two.classes = 2;
  const Prepared prepared = prepare("ave", two);
  const auto samples = by_id(prepared);
  ASSERT_EQ(samples.size(), 4);
  EXPECT_EQ(*samples.at("c")->split, Split::kVal);
  EXPECT_EQ(samples.at("d")->label, "Mandolin");
  EXPECT_EQ(prepared.left_out.at("listed twice"), (std::vector<std::string>{"a"}));
  // A clip of two lists is kept out of train, and of val where it is in test.
  static_cast<void>(folder_.write("raw/valSet.txt", "Church bell&c&good&0&10\nBark&d&good&0&1\n"));
  static_cast<void>(
      folder_.write("raw/testSet.txt", "Mandolin&d&good&0&10\nChurch bell&a&good&0&10\n"));
  const Prepared shared = prepare("ave", two);
  EXPECT_EQ(*by_id(shared).at("a")->split, Split::kTest);
  EXPECT_EQ(*by_id(shared).at("d")->split, Split::kTest);
  EXPECT_EQ(by_id(shared).at("d")->label, "Mandolin");
  EXPECT_EQ(shared.left_out, (std::map<std::string, std::vector<std::string>>{
                                 {"of train, listed in test too", {"a", "a"}},
                                 {"of val, listed in test too", {"d"}}}));
}

TEST_F(Prepare, FoodPairsImagesWithCleanedTitles) {
  fs::create_directories(folder_.file("raw/texts"));
  static_cast<void>(folder_.write("raw/texts/train_titles.csv",
                                  "Image_path,text,label\n"
                                  "pie_1.jpg,\"RT  Apple #Pie, the best http://a.b/c?d=1 \",pie\n"
                                  "pie_2.jpg,https://only.a/link,pie\n"
                                  "train/pie/pie_3.jpg,gone,pie\npie_1.jpg,again,pie\n"
                                  "pie_5.jpg,START of a | pie,pie\n"));
  static_cast<void>(folder_.write("raw/texts/test_titles.csv", "soup_1.jpg,Soup,soup\n"));
  for (const char* name : {"train/pie/pie_1", "train/pie/pie_2", "train/pie/pie_4",
                           "train/pie/pie_5", "test/soup/soup_1"}) {
    file(fmt::format("raw/images/{}.jpg", name));
  }
  PrepareOptions two = options();
  two.classes = 2;
  const Prepared prepared = prepare("food101", two);
  const auto samples = by_id(prepared);
  ASSERT_EQ(samples.size(), 3);
  EXPECT_EQ(prepared.modalities, (std::vector<std::string>{"image", "text"}));
  EXPECT_EQ(prepared.classes, (std::vector<std::string>{"pie", "soup"}));
  EXPECT_EQ(samples.at("pie_1")->cells[1], "Apple Pie, the best");
  EXPECT_EQ(samples.at("soup_1")->split, Split::kTest);
  EXPECT_EQ(prepared.left_out,
            (std::map<std::string, std::vector<std::string>>{{"in no list", {"pie/pie_4"}},
                                                             {"listed twice", {"pie_1"}},
                                                             {"without a title", {"pie_2"}},
                                                             {"without an image", {"pie_3"}}}));
  const std::string manifest = manifest_of(prepared, folder_.file(""));
  EXPECT_NE(manifest.find(",raw/images/train/pie/pie_1.jpg,\"Apple Pie, the best\"\n"),
            std::string::npos)
      << manifest;
  EXPECT_NE(manifest.find("pie_5.jpg,START of a | pie\n"), std::string::npos) << manifest;
  static_cast<void>(folder_.write("raw/texts/test_titles.csv", "soup_1.jpg,Soup\n"));
  expect_data_error([&] { prepare("food101", two); }, {"test_titles.csv:1", "found 2 fields"});
}

TEST_F(Prepare, UcfPairsFramesWithFlowAndSplitsByGroup) {
  for (int group = 1; group <= 10; ++group) {
    for (const char* name : {"Archery", "BabyCrawling"}) {
      const std::string clip = fmt::format("v_{}_g{:02}_c01", name, group);
      file(fmt::format("raw/UCF-101/{}/{}.avi", name, clip));
      frames("raw/tvl1_flow/u/" + clip, 4);
      frames("raw/tvl1_flow/v/" + clip, group == 3 ? 3 : 4);
    }
  }
  PrepareOptions two = options();
  two.classes = 2;
  const Prepared prepared = prepare("ucf101", two);
  EXPECT_EQ(prepared.samples.size(), 18);
  EXPECT_EQ(prepared.left_out.at("u and v of optical flow differ").size(), 2);
  const PreparedSample& one = *by_id(prepared).at("v_Archery_g01_c01");
  EXPECT_EQ(one.label, "Archery");
  EXPECT_EQ(one.cells[1], folder_.file("raw/tvl1_flow/u/v_Archery_g01_c01") + "|" +
                              folder_.file("raw/tvl1_flow/v/v_Archery_g01_c01"));
  const auto of_split =
      groups(prepared, [](const std::string& id) { return id.substr(id.rfind("_g"), 4); });
  for (const std::string& group : of_split.at(Split::kTest)) {
    EXPECT_FALSE(of_split.at(Split::kTrain).contains(group));
  }
  const std::string manifest = manifest_of(prepared, folder_.file(""));
  EXPECT_NE(manifest.find(",raw/UCF-101/Archery/v_Archery_g01_c01.avi,raw/tvl1_flow/u/"
                          "v_Archery_g01_c01|raw/tvl1_flow/v/v_Archery_g01_c01\n"),
            std::string::npos)
      << manifest;
}

TEST_F(Prepare, UcfTakesBothSpellingsOfAClass) {
  std::string list;
  for (int clip = 1; clip <= 4; ++clip) {
    list += fmt::format("HandstandPushups/v_HandStandPushups_g01_c{:02}.avi 37\n", clip);
    list += fmt::format("Archery/v_Archery_g01_c{:02}.avi 3\n", clip);
    frames(fmt::format("raw/jpegs_256/v_HandstandPushups_g01_c{:02}", clip), 4);
    frames(fmt::format("raw/jpegs_256/v_Archery_g01_c{:02}", clip), 4);
    for (const char* part : {"u", "v"}) {
      const char* name = clip == 1 ? "HandStandPushups" : "HandstandPushups";
      frames(fmt::format("raw/tvl1_flow/{}/v_{}_g01_c{:02}", part, name, clip), 4);
      frames(fmt::format("raw/tvl1_flow/{}/v_Archery_g01_c{:02}", part, clip), 4);
    }
  }
  PrepareOptions two = options();
  two.classes = 2;
  two.split_lists = {{Split::kTrain, folder_.write("trainlist01.txt", list)}};
  const Prepared prepared = prepare("ucf101", two);
  EXPECT_EQ(prepared.samples.size(), 8);
  EXPECT_TRUE(prepared.left_out.empty()) << report_of(prepared);
  EXPECT_EQ(prepared.classes, (std::vector<std::string>{"Archery", "HandStandPushups"}));
}

TEST_F(Prepare, FoldersTakeAnyModalitiesAndClasses) {
  for (const char* modality : {"depth", "rgb", "sound"}) {
    for (int clip = 0; clip < 10; ++clip) {
      file(fmt::format("raw/{}/train/cat/{}.png", modality, clip));
      file(fmt::format("raw/{}/train/dog, big/{}.png", modality, clip));
    }
    file(fmt::format("raw/{}/test/cat/20.png", modality));
  }
  file("raw/rgb/test/cat/21.png");
  const Prepared prepared = prepare("folders", options());
  EXPECT_EQ(prepared.modalities, (std::vector<std::string>{"depth", "rgb", "sound"}));
  EXPECT_EQ(prepared.classes, (std::vector<std::string>{"cat", "dog, big"}));
  EXPECT_EQ(prepared.samples.size(), 21);
  EXPECT_EQ(prepared.left_out.at("without depth"), (std::vector<std::string>{"cat/21"}));
  // What is written can be read.
  const std::string path = folder_.write("manifest.csv", manifest_of(prepared, folder_.file("")));
  const Manifest manifest = Manifest::read(path, prepared.modalities);
  EXPECT_EQ(manifest.rows.size(), 21);
  EXPECT_EQ(manifest.rows[0].cells[1], "raw/rgb/train/cat/0.png");
  file("raw/rgb/test/cat/3.png");
  file("raw/depth/test/cat/3.png");
  file("raw/sound/test/cat/3.png");
  expect_data_error([&] { return prepare("folders", options()); },
                    {"the clip cat/3 is in train and in test"});
}

/// CMU-MOSEI in small, changed by a statement of Python on `data` (`np` is NumPy).
class PrepareMosei : public Prepare {
 protected:
  void write(const std::string& change, const std::string& name = "mosei_senti_data.pkl") {
    fs::create_directories(folder_.file("raw"));
    const std::string path = folder_.file("raw/" + name);
    testing::run(fmt::format("/usr/bin/python3 {}/tests/data/miniature_mosei.py {}",
                             UNBRAID_SOURCE_DIR, path));
    const std::string script = folder_.write(
        "change.py",
        fmt::format("import pickle\nimport numpy as np\ndata = pickle.load(open('{0}', "
                    "'rb'))\n{1}\npickle.dump(data, open('{0}', 'wb'))\n",
                    path, change));
    testing::run("/usr/bin/python3 " + script);
  }
  void expect_refused(const std::string& change, const std::vector<std::string>& parts) {
    SCOPED_TRACE(change);
    write(change);
    expect_data_error([&] { return prepare("mosei", options()); }, parts);
  }
};

TEST_F(PrepareMosei, ScoresBecomeClassesAndArraysTables) {
  // Scores by split, of which only those below zero are negative; an id of three parts.
  write(
      "data['train']['labels'] = np.array([[[-3]], [[-0.1]], [[0]], [[-0.0]], [[2.5]]])\n"
      "data['train'] = {k: v[:5] for k, v in data['train'].items()}\n"
      "data['valid']['vision'] = np.asfortranarray(data['valid']['vision'])\n"
      "data['test']['id'] = np.array([str(i) for i in range(12)], dtype=object)\n"
      "np.save(r'" +
      folder_.file("expected.npy") +
      "', np.concatenate([data[k]['vision'] for k in ('train', 'valid', 'test')]).astype('<f4'))");
  const Prepared prepared = prepare("mosei", options());
  EXPECT_EQ(prepared.modalities, (std::vector<std::string>{"audio", "vision", "text"}));
  EXPECT_EQ(prepared.classes, (std::vector<std::string>{"negative", "positive"}));
  ASSERT_EQ(prepared.samples.size(), 29);
  const auto samples = by_id(prepared);
  const std::vector<std::string> expected = {"negative", "negative", "positive", "positive",
                                             "positive"};
  for (int i = 0; i < 5; ++i) {
    const std::string id = fmt::format("train{}_{}.5_{}.5", i / 2, i, i + 1);
    ASSERT_TRUE(samples.contains(id)) << id;
    EXPECT_EQ(samples.at(id)->label, expected[static_cast<size_t>(i)]);
    EXPECT_EQ(*samples.at(id)->split, Split::kTrain);
    EXPECT_EQ(samples.at(id)->cells, std::vector<std::string>(3, std::to_string(i)));
  }
  EXPECT_EQ(*samples.at("valid0_0.5_1.5")->split, Split::kVal);
  EXPECT_EQ(samples.at("valid0_0.5_1.5")->cells[0], "5");
  EXPECT_EQ(*samples.at("7")->split, Split::kTest);
  EXPECT_EQ(samples.at("7")->cells[2], "24");

  ASSERT_EQ(prepared.tables.size(), 3);
  const std::string path = table_path(folder_.file("made.csv"), "vision").string();
  EXPECT_EQ(path, folder_.file("made_vision.npy"));
  EXPECT_EQ(write_table(prepared.tables[1], path), 0);
  EXPECT_EQ(testing::content_of(path), testing::content_of(folder_.file("expected.npy")));
  const std::string sound = folder_.file("audio.npy");
  EXPECT_EQ(write_table(prepared.tables[0], sound), 6);
  const torch::Tensor audio = testing::read_array(sound);
  EXPECT_EQ(audio.sizes(), (std::vector<int64_t>{29, 6, 5}));
  for (const int row : {0, 5, 17}) {
    EXPECT_EQ(audio[row][0][0].item<float>(), 0);
    EXPECT_EQ(audio[row + 1][2][3].item<float>(), 0);
    EXPECT_NE(audio[row][0][1].item<float>(), 0);
  }
  // Rows of the tables stay as they are among paths.
  EXPECT_NE(manifest_of(prepared, folder_.file("")).find("\n7,test,positive,24,24,24\n"),
            std::string::npos);
}

TEST_F(PrepareMosei, ScoresMayBeTheLabels) {
  write(
      "data['train']['labels'] = np.array([[[-3]], [[-1/3]], [[0]], [[2.4]], [[2.5]]])\n"
      "data['train'] = {k: v[:5] for k, v in data['train'].items()}");
  PrepareOptions scores = options();
  scores.scores = true;
  const Prepared prepared = prepare("mosei", scores);
  EXPECT_TRUE(prepared.classes.empty());
  const auto samples = by_id(prepared);
  const std::vector<std::string> expected = {"-3", "-0.33333334", "0", "2.4", "2.5"};
  for (int i = 0; i < 5; ++i) {
    const std::string id = fmt::format("train{}_{}.5_{}.5", i / 2, i, i + 1);
    EXPECT_EQ(samples.at(id)->label, expected[static_cast<size_t>(i)]);
  }
  EXPECT_NE(report_of(prepared).find("all            5      12      12"), std::string::npos)
      << report_of(prepared);
  // Val is drawn from all scores alike: one in ten of 24.
  std::string ids;
  for (const PreparedSample& sample : prepared.samples) {
    ids += sample.split == Split::kTest || sample.split == Split::kVal ? sample.id + "\n" : "";
  }
  scores.split_lists = {{Split::kTrain, folder_.write("list", ids)}};
  const Prepared drawn = prepare("mosei", scores);
  EXPECT_EQ(std::count_if(drawn.samples.begin(), drawn.samples.end(),
                          [](const PreparedSample& sample) { return sample.split == Split::kVal; }),
            2);
  EXPECT_NE(drawn.how_split.find("one in ten of train, by seed"), std::string::npos);
  try {
    prepare("cremad", scores);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kUsage);
    EXPECT_STREQ(error.what(), "cremad: has classes alone, no scores");
  }
}

TEST_F(PrepareMosei, IdsThatAreMissingOrRepeatAreMade) {
  for (const std::string change :
       {"del data['test']['id']", "data['test']['id'] = data['test']['id'][:, 0]",
        "data['test']['id'] = np.arange(12)", "data['test']['id'][3] = ''",
        "data['test']['id'] = data['valid']['id']"}) {
    SCOPED_TRACE(change);
    write(change);
    const Prepared prepared = prepare("mosei", options());
    ASSERT_EQ(prepared.samples.size(), 64);
    EXPECT_TRUE(by_id(prepared).contains("test_11"));
    EXPECT_EQ(by_id(prepared).at("valid_3")->cells[0], "43");
    EXPECT_NE(report_of(prepared).find("ids made of split and number"), std::string::npos);
  }
}

TEST_F(PrepareMosei, FindsTheFileOrIsToldIt) {
  expect_data_error([&] { return prepare("mosei", options()); }, {"raw: cannot be read"});
  fs::create_directories(folder_.file("raw"));
  expect_data_error([&] { return prepare("mosi", options()); },
                    {"mosi_data_noalign.pkl and mosi_data.pkl", "found none"});
  write("", "mosi_data.pkl");
  EXPECT_EQ(prepare("mosi", options()).samples.size(), 64);
  write("", "mosi_data_noalign.pkl");
  expect_data_error([&] { return prepare("mosi", options()); }, {"found both"});
  PrepareOptions one = options();
  one.raw = folder_.file("raw/mosi_data.pkl");
  EXPECT_EQ(prepare("mosi", one).samples.size(), 64);
}

TEST_F(PrepareMosei, OtherPicklesAreRefused) {
  expect_refused("data = [data]", {"mosei_senti_data.pkl: expected the key train in the file"});
  expect_refused("del data['valid']", {"the key valid in the file, found a dict of 2"});
  expect_refused("del data['valid']['audio']", {"the key audio in valid, found a dict of 4"});
  expect_refused("data['test']['labels'] = None", {"labels of test: expected an array of NumPy"});
  expect_refused("data['test']['labels'] = data['test']['id']",
                 {"labels of test: expected numbers"});
  expect_refused("data['test']['labels'][2] = np.nan",
                 {"labels of test: expected scores, found nan as element 2"});
  expect_refused(
      "data['test']['labels'] = np.zeros((12, 1, 7))",
      {"audio of test: expected 84 samples, one for each of the labels, found [12, 6, 5]"});
  expect_refused("data['valid']['text'] = data['valid']['text'][:5]",
                 {"text of valid: expected 12 samples", "found [5, 3, 7]"});
  expect_refused("data['valid']['text'] = data['valid']['text'][:, :2]",
                 {"text of valid: expected [N, 3, 7] as in train, found [12, 2, 7]"});
  expect_refused("data['test']['text'] = data['test']['text'][0]",
                 {"text of test: expected samples of steps of features, [N, T, D], found [3, 7]"});
  expect_refused("data['test']['id'] = data['test']['id'][:4]",
                 {"id of test: expected 12 ids, found [4, 3]"});
  expect_refused(
      "data['train']['labels'][:] = 1\ndata['valid']['labels'][:] = 1\n"
      "data['test']['labels'][:] = 1",
      {"found none of negative"});
}

TEST_F(Prepare, RefusesWhatCannotBeTrained) {
  for (const char* name : {"a", "b"}) {
    file(fmt::format("raw/rgb/train/{}/1_{}.png", name, name));
  }
  expect_data_error([&] { return prepare("folders", options()); }, {"the split val, found none"});
  file("raw/rgb/train/a/2.png");
  file("raw/rgb/other/a/3.png");
  const Prepared prepared = prepare("folders", options());
  EXPECT_EQ(prepared.samples.size(), 3);
  EXPECT_EQ(prepared.left_out.at("folders that are not train, val or test"),
            (std::vector<std::string>{"rgb/other"}));
  file("raw/my rgb/train/a/1.png");
  expect_data_error([&] { return prepare("folders", options()); }, {"my rgb", "letters, digits"});
  fs::remove_all(folder_.file("raw/my rgb"));
  PrepareOptions lists = options();
  lists.split_lists = {{Split::kTrain, folder_.write("list", "x\ny\n")}};
  expect_data_error([&] { return prepare("folders", lists); }, {"list", "none that is there"});
}

TEST(CsvField, IsReadBackAsItWas) {
  for (const std::string text : {"plain", "a,b", "say \"no\"", "two\nlines", "", " blank "}) {
    CsvReader csv("x," + csv_field(text) + "\n", "test");
    std::vector<std::string> fields;
    ASSERT_TRUE(csv.next(fields));
    EXPECT_EQ(fields, (std::vector<std::string>{"x", text}));
  }
}

TEST_F(Prepare, WarnsOfAClassWithoutTrainingSamples) {
  write_cremad();
  Prepared prepared = prepare("cremad", options());
  EXPECT_EQ(report_of(prepared).find("warning"), std::string::npos);
  for (PreparedSample& sample : prepared.samples) {
    if (sample.label == "SAD") {
      sample.split = Split::kTest;
    }
  }
  EXPECT_NE(report_of(prepared).find("\nwarning: the class SAD has no training sample\n"),
            std::string::npos);
}

TEST_F(Prepare, NamesTheFileWhoseNameIsNotUtf8) {
  const std::string damaged = "/raw/\xff_1.wav";
  Prepared prepared;
  prepared.modalities = {"audio"};
  prepared.samples.emplace_back();
  prepared.samples.back().id = "a";
  prepared.samples.back().split = Split::kTrain;
  prepared.samples.back().cells = {damaged};
  expect_data_error([&] { manifest_of(prepared, "/"); }, {damaged, "UTF-8"});
}

}  // namespace
}  // namespace unbraid
