// How fast CREMA-D's clips become batches: from WAV files and JPEG frames, beside a Python script
// that does the same work; from WAV and raw FLV; and from the cache. All on one thread, in turns.
// Then the loader with more workers.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "unbraid/core/process.h"
#include "unbraid/core/torch.h"
#include "unbraid/data/loader.h"
#include "unbraid/data/prepare/prepare.h"
#include "unbraid/training/recipe.h"

namespace unbraid::bench {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

void run(const std::string& command) {
  if (std::system(command.c_str()) != 0) {
    throw std::runtime_error("failed: " + command);
  }
}

double number_from(const std::string& command) {
  FILE* pipe = popen(command.c_str(), "r");
  double number = 0;
  const bool read = pipe != nullptr && std::fscanf(pipe, "%lf", &number) == 1;
  if (pipe == nullptr || pclose(pipe) != 0 || !read) {
    throw std::runtime_error("failed: " + command);
  }
  return number;
}

/// A miniature of CREMA-D, also with extracted frames.
class Clips {
 public:
  Clips(const std::string& sources, int actors)
      : folder_(fs::temp_directory_path() / fmt::format("unbraid-media-bench-{}", getpid())) {
    fs::create_directories(folder_);
    run(fmt::format("{}/tests/data/miniature_cremad.sh {} {}", sources, raw().string(), actors));
    fs::create_directories(folder_ / "frames/Image-01-FPS");
    fs::create_directory_symlink(raw() / "AudioWAV", folder_ / "frames/AudioWAV");
    for (const char* emotion : {"NEU", "HAP", "SAD", "FEA", "DIS", "ANG"}) {
      const fs::path made = folder_ / emotion;
      fs::create_directories(made);
      run(
          fmt::format("ffmpeg -loglevel error -i {}/VideoFlash/1001_DFA_{}_XX.flv -vf fps=1 -q:v 2 "
                      "{}/%05d.jpg",
                      raw().string(), emotion, made.string()));
      for (int actor = 1001; actor < 1001 + actors; ++actor) {
        fs::copy(made, frames() / "Image-01-FPS" / fmt::format("{}_DFA_{}_XX", actor, emotion));
      }
    }
    write_manifest(raw(), "raw.csv");
    write_manifest(frames(), "frames.csv");
  }
  ~Clips() { fs::remove_all(folder_); }
  Clips(const Clips&) = delete;
  Clips& operator=(const Clips&) = delete;

  [[nodiscard]] fs::path raw() const { return folder_ / "raw"; }
  [[nodiscard]] fs::path frames() const { return folder_ / "frames"; }
  [[nodiscard]] fs::path file(const std::string& name) const { return folder_ / name; }

 private:
  void write_manifest(const fs::path& data, const std::string& name) const {
    const PrepareOptions options{.raw = data, .split_lists = {}, .seed = 0, .classes = {}};
    std::FILE* file = std::fopen((folder_ / name).c_str(), "w");
    const std::string text = manifest_of(prepare("cremad", options), folder_);
    std::fwrite(text.data(), 1, text.size(), file);
    std::fclose(file);
  }

  fs::path folder_;
};

std::shared_ptr<ManifestDataSet> open(const Clips& clips, const std::string& sources,
                                      const std::string& manifest, const std::string& cache) {
  const Recipe recipe =
      read_recipe(sources + "/recipes/cremad/dgl.toml",
                  {"data.manifest=" + clips.file(manifest).string(), "data.cache=" + cache});
  return recipe.open_split(recipe.open_manifest(), Split::kTrain, recipe.open_cache());
}

double clips_per_second(const DataSet& data, int rounds) {
  const auto start = Clock::now();
  for (int round = 0; round < rounds; ++round) {
    for (size_t i = 0; i < data.size(); ++i) {
      static_cast<void>(data.get(i, static_cast<uint64_t>(round), true));
    }
  }
  const std::chrono::duration<double> seconds = Clock::now() - start;
  return static_cast<double>(data.size()) * rounds / seconds.count();
}

double loaded_per_second(const std::shared_ptr<const DataSet>& data, int workers) {
  constexpr uint64_t kEpochs = 5;
  Loader loader(data, {.batch_size = 16, .workers = workers, .shuffle = true, .training = true});
  Clock::time_point start;
  size_t count = 0;
  for (uint64_t epoch = 0; epoch <= kEpochs; ++epoch) {
    if (epoch == 1) {  // the first epoch is the first to touch the memory of batches
      start = Clock::now();
      count = 0;
    }
    loader.start(epoch);
    while (const auto batch = loader.next()) {
      count += static_cast<size_t>(batch->size());
    }
  }
  const std::chrono::duration<double> seconds = Clock::now() - start;
  return static_cast<double>(count) / seconds.count();
}

/// The share of its time that training by the recipe of CREMA-D waits for the loader.
double waiting(const Clips& clips, const std::string& sources, const std::string& cache) {
  const std::string out = clips.file("run").string();
  run(
      fmt::format("{0}/unbraid train {1}/recipes/cremad/dgl.toml --out {2} --set data.manifest={3} "
                  "--set data.cache={4} --set data.batch_size=16 --set train.epochs=2 --set "
                  "data.workers=2 --set data.drop_last=false >/dev/null",
                  UNBRAID_PROGRAM_DIR, sources, out, clips.file("frames.csv").string(), cache));
  std::ifstream summary(out + "/summary.json");
  const double share = nlohmann::json::parse(summary).at("loader_wait_fraction");
  fs::remove_all(out);
  return share;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void measure(const std::string& sources, int actors, int turns) {
  const Clips clips(sources, actors);
  const auto frames = open(clips, sources, "frames.csv", "");
  const auto raw = open(clips, sources, "raw.csv", "");
  const auto kept = open(clips, sources, "frames.csv", clips.file("cache").string());
  const auto kept_raw = open(clips, sources, "raw.csv", clips.file("cache-raw").string());
  clips_per_second(*kept, 1);
  clips_per_second(*kept_raw, 1);
  const auto python = [&](const char* filter) {
    return number_from(
        fmt::format("/usr/bin/python3 {}/benchmarks/media_reference.py {} 2 {}/AudioWAV "
                    "{}/Image-01-FPS",
                    sources, filter, clips.frames().string(), clips.frames().string()));
  };
  struct Row {
    const char* name;
    std::function<double()> rate;
    std::vector<double> rates;
  };
  std::array rows = {
      Row{"SciPy and Pillow, WAV + JPEG", [&] { return python("same"); }, {}},
      Row{"the same, SciPy's short filter", [&] { return python("short"); }, {}},
      Row{"files, WAV + JPEG", [&] { return clips_per_second(*frames, 10); }, {}},
      Row{"cache, WAV + JPEG", [&] { return clips_per_second(*kept, 30); }, {}},
      Row{"files, WAV + FLV", [&] { return clips_per_second(*raw, 5); }, {}},
      Row{"cache, WAV + FLV", [&] { return clips_per_second(*kept_raw, 30); }, {}},
  };
  for (int turn = 0; turn < turns; ++turn) {
    for (Row& row : rows) {
      row.rates.push_back(row.rate());
    }
  }
  std::cout << fmt::format("CREMA-D, clips a second on one core, median of {} turns\n", turns);
  std::cout << fmt::format("{:<32}{:>10}{:>12}{:>16}\n", "", "", "x Python", "x short filter");
  for (const Row& row : rows) {
    const double rate = median(row.rates);
    std::cout << fmt::format("{:<32}{:>10.1f}{:>12.1f}{:>16.1f}\n", row.name, rate,
                             rate / median(rows[0].rates), rate / median(rows[1].rates));
  }
  std::cout << "\nloader, WAV + JPEG from files, clips a second\n";
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  for (int workers = 1; workers <= cores; workers *= 2) {
    std::cout << fmt::format("{:>3} workers{:>10.1f}\n", workers,
                             loaded_per_second(frames, workers));
  }
  std::cout << fmt::format(
      "\nwaiting for data while ResNet-18 trains on every core: {:.2f} % from files, {:.2f} % from "
      "the cache\n",
      100 * waiting(clips, sources, ""), 100 * waiting(clips, sources, clips.file("cache")));
}

int run(int argc, char** argv) {
  CLI::App app("Measures how fast media files become batches");
  int actors = 20;
  int turns = 3;
  app.add_option("--actors", actors, "Six clips each")->check(CLI::Range(3, 91));
  app.add_option("--turns", turns, "Measurements of each")->check(CLI::Range(1, 100));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& problem) {
    return app.exit(problem) == 0 ? 0 : 2;
  }
  at::set_num_threads(1);
  measure(UNBRAID_SOURCE_DIR, actors, turns);
  return 0;
}

}  // namespace
}  // namespace unbraid::bench

int main(int argc, char** argv) {
  try {
    unbraid::tune_process();
    return unbraid::bench::run(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "unbraid_media_bench: " << error.what() << std::endl;
    return 1;
  }
}
