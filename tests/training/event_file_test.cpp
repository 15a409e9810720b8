#include "unbraid/training/event_file.h"

#include <chrono>
#include <cmath>
#include <filesystem>
#include <sstream>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "temporary_folder.h"
#include "unbraid/core/error.h"
#include "unbraid/training/run_directory.h"

namespace unbraid {
namespace {

using nlohmann::json;
using unbraid::testing::read_text;
using unbraid::testing::TemporaryFolder;
using unbraid::testing::write_text;

/// What an independent reader, read_event_file.py, finds in the event file of `folder`.
std::vector<json> events_in(const std::filesystem::path& folder) {
  const std::filesystem::path found = folder / "found.json";
  EXPECT_EQ(
      std::system(fmt::format("/usr/bin/python3 {}/tests/training/read_event_file.py {} >{}",
                              UNBRAID_SOURCE_DIR, EventFile::find(folder).string(), found.string())
                      .c_str()),
      0);
  std::vector<json> events;
  std::istringstream text(read_text(found));
  for (std::string line; std::getline(text, line);) {
    events.push_back(json::parse(line));
  }
  return events;
}

/// A line of training and one of validation, as the trainer writes them.
json train_line(int epoch) {
  return {{"epoch", epoch},
          {"split", "train"},
          {"loss", 1.0 / epoch},
          {"loss_alone", {{"audio", 2.0 / epoch}}},
          {"gradient_norm", {{"encoders.audio", 0.25}, {"fusion", 3}, {"total", std::nan("")}}},
          {"method", {{"k.audio", 0.5}}},
          {"lr", 1e-3},
          {"seconds", 7},
          {"samples_per_second", 1e300}};
}

json val_line(int epoch) {
  return {{"epoch", epoch},
          {"split", "val"},
          {"loss", 1.5 / epoch},
          {"accuracy", 0.75},
          {"accuracy_alone", {{"audio", 0.5}, {"visual", std::nan("")}}}};
}

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

TEST(EventFile, ChecksumIsCrc32c) {
  EXPECT_EQ(crc32c("123456789"), 0xE3069283);
  EXPECT_EQ(crc32c(""), 0);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62A8AB43);  // RFC 3720, B.4
}

TEST(EventFile, HasEveryNumberUnderItsTag) {
  const TemporaryFolder folder;
  const double before = seconds_now();
  EventFile file(folder.path(), {});
  file.append(train_line(300));
  file.append(val_line(300));
  const std::string name = file.path().filename().string();
  EXPECT_TRUE(name.starts_with("events.out.tfevents.")) << name;
  EXPECT_EQ(EventFile::find(folder.path()), file.path());

  const auto events = events_in(folder.path());
  ASSERT_EQ(events.size(), 3);
  EXPECT_EQ(events[0]["file_version"], "brain.Event:2");
  EXPECT_FALSE(events[0].contains("scalars"));
  for (const json& event : events) {
    EXPECT_GE(event["wall_time"].get<double>(), before);
    EXPECT_LE(event["wall_time"].get<double>(), seconds_now());
  }
  EXPECT_EQ(events[1]["step"], 300);
  const json expected = {{"loss/train", static_cast<float>(1.0 / 300)},
                         {"loss_alone/audio/train", static_cast<float>(2.0 / 300)},
                         {"gradient_norm/encoders.audio", 0.25F},
                         {"gradient_norm/fusion", 3.0F},
                         {"method/k.audio", 0.5F},
                         {"lr", 1e-3F},
                         {"seconds", 7.0F}};  // neither NaN nor what no float holds
  EXPECT_EQ(events[1]["scalars"], expected);
  EXPECT_EQ(events[2]["scalars"], (json{{"loss/val", static_cast<float>(1.5 / 300)},
                                        {"accuracy/val", 0.75F},
                                        {"accuracy_alone/audio/val", 0.5F}}));
}

TEST(EventFile, ContinuesWithWhatIsStillTrue) {
  const TemporaryFolder folder;
  const auto run = folder / "run";
  {
    RunDirectory directory = RunDirectory::create(run);
    directory.keep_events();
    for (const int epoch : {1, 2, 3}) {
      directory.append_metrics(train_line(epoch));
      directory.append_metrics(val_line(epoch));
    }
  }
  const std::string written = read_text(EventFile::find(run));
  const auto whole = events_in(run);
  ASSERT_EQ(whole.size(), 7);

  RunDirectory directory = RunDirectory::open(run);
  directory.forget_metrics_after(2);
  directory.keep_events();
  const std::string cut = read_text(EventFile::find(run));
  EXPECT_LT(cut.size(), written.size());
  EXPECT_TRUE(written.starts_with(cut));  // with the wall times that there were
  directory.append_metrics(train_line(3));
  directory.append_metrics(val_line(3));
  auto continued = events_in(run);
  ASSERT_EQ(continued.size(), 7);
  for (size_t i = 1; i < whole.size(); ++i) {
    EXPECT_EQ(continued[i]["step"], whole[i]["step"]);
    EXPECT_EQ(continued[i]["scalars"], whole[i]["scalars"]);
  }

  // A kill may cut a record short, or come before it; what no line says does not stay.
  const auto file = EventFile::find(run);
  const std::string full = read_text(file);
  std::string flipped = full;
  flipped[full.size() / 2] ^= 1;
  for (const std::string& damaged :
       {full.substr(0, full.size() - 5), full.substr(0, cut.size()), full + "more", flipped,
        std::string(), std::string("another file")}) {
    write_text(file, damaged);
    RunDirectory::open(run).keep_events();
    continued = events_in(run);
    ASSERT_EQ(continued.size(), 7) << damaged.size();
    EXPECT_EQ(continued[6]["scalars"], whole[6]["scalars"]);
  }
  EXPECT_EQ(EventFile::find(run), file);
}

TEST(EventFile, NamesTheFileThatCannotBeWritten) {
  const TemporaryFolder folder;
  EventFile file(folder.path(), {});
  const auto error_of = [&](const auto& action) -> std::string {
    try {
      action();
    } catch (const StorageError& error) {
      return error.what();
    }
    return "nothing was thrown";
  };
  std::filesystem::remove(file.path());
  std::filesystem::create_symlink("/dev/full", file.path());
  EXPECT_EQ(error_of([&] { file.append(train_line(1)); }),
            file.path().string() + ": cannot write: No space left on device");
  EXPECT_NE(error_of([&] { EventFile(folder.path(), {}); }).find(file.path().string()),
            std::string::npos);
  EXPECT_NE(error_of([&] { EventFile(folder / "none", {}); }).find("none/events.out.tfevents."),
            std::string::npos);
}

TEST(EventFile, OfNobodysRunIsLeftAlone) {
  const TemporaryFolder folder;
  const auto path = EventFile(folder.path(), {train_line(1)}).path();
  const std::string content = read_text(path);
  EXPECT_THROW(RunDirectory::create(folder.path()), Error);
  // Event files of other programs are none of ours.
  write_text(folder / "events.out.tfevents.9999999999.host", "theirs");
  EXPECT_EQ(EventFile::find(folder.path()), path);
  EXPECT_EQ(read_text(path), content);
}

}  // namespace
}  // namespace unbraid
