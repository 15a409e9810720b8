#pragma once

#include <sndfile.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "unbraid/core/options.h"

namespace unbraid::testing {

/// A fresh folder that goes away with its contents.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    static std::atomic<int> count = 0;
    path_ = std::filesystem::temp_directory_path() /
            fmt::format("unbraid-test-{}-{}", getpid(), count++);
    std::filesystem::create_directories(path_);
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  [[nodiscard]] std::string file(const std::string& name) const { return (path_ / name).string(); }
  /// Writes `content` to the file `name`; returns its path.
  [[nodiscard]] std::string write(const std::string& name, const std::string& content) const {
    std::ofstream(file(name), std::ios::binary) << content;
    return file(name);
  }

 private:
  std::filesystem::path path_;
};

inline std::string content_of(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

/// A recipe's table made of `entries`.
inline Options options_of(
    const std::vector<std::pair<std::string, decltype(Value::data)>>& entries) {
  Value table = Value::table("recipe.toml:1");
  for (const auto& [key, data] : entries) {
    assign(*std::get<Value::TablePointer>(table.data), key, {data, "recipe.toml:2"});
  }
  return Options(table, "modalities.x");
}

inline Value::List list_of(const std::vector<double>& numbers) {
  Value::List list(numbers.size());
  for (size_t i = 0; i < numbers.size(); ++i) {
    list[i].data = numbers[i];
  }
  return list;
}

/// What an E thrown by `action` says; a failure when it throws none.
template <typename E, typename Action>
std::string message_of(Action action) {
  try {
    action();
  } catch (const E& error) {
    return error.what();
  } catch (const std::exception& error) {
    ADD_FAILURE() << "another exception: " << error.what();
    return "";
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

/// Expects a DataError whose message holds every one of `parts`.
template <typename Action>
void expect_data_error(Action action, const std::vector<std::string>& parts) {
  const std::string message = message_of<DataError>(action);
  for (const std::string& part : parts) {
    EXPECT_NE(message.find(part), std::string::npos) << "'" << part << "' is not in: " << message;
  }
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
}

/// Writes interleaved samples as `format` of libsndfile; returns the path.
inline std::string write_sound(const std::string& path, int format, int rate, int channels,
                               const std::vector<float>& samples) {
  SF_INFO info{};
  info.samplerate = rate;
  info.channels = channels;
  info.format = format;
  SNDFILE* sound = sf_open(path.c_str(), SFM_WRITE, &info);
  EXPECT_NE(sound, nullptr) << sf_strerror(nullptr);
  const auto frames = static_cast<sf_count_t>(samples.size() / channels);
  EXPECT_EQ(sf_writef_float(sound, samples.data(), frames), frames);
  sf_close(sound);
  return path;
}

}  // namespace unbraid::testing
