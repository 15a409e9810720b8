#include "unbraid/data/prepare/prepare.h"

#include <iostream>
#include <limits>
#include <memory>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "apps/unbraid/commands.h"
#include "unbraid/core/durable_file.h"
#include "unbraid/core/error.h"
#include "unbraid/media/npy.h"

namespace unbraid {
namespace {

struct PrepareArguments {
  std::string data_set;
  std::string raw;
  std::string manifest;
  std::vector<std::string> split_lists;
  int64_t seed = 0;
  int64_t classes = 0;
  bool scores = false;
};

/// "train=FILE".
std::pair<Split, std::filesystem::path> read_split_list(const std::string& argument) {
  const size_t equals = argument.find('=');
  if (equals == std::string::npos || equals + 1 == argument.size()) {
    throw Error(
        ExitCode::kUsage,
        fmt::format("--split-list {}: expected train=FILE, val=FILE or test=FILE", argument));
  }
  return {split_named(argument.substr(0, equals)), argument.substr(equals + 1)};
}

/// A table is replaced with its manifest only: any other file of its name is somebody's own.
void refuse_to_replace_tables(const Prepared& prepared, const std::string& manifest) {
  std::error_code ignored;
  const bool again = std::filesystem::exists(manifest, ignored);
  for (const PreparedTable& table : prepared.tables) {
    const std::filesystem::path path = table_path(manifest, table.modality);
    if (!again && std::filesystem::exists(path, ignored)) {
      throw Error(ExitCode::kUsage,
                  fmt::format("{}: is there already without {}; remove it or name another file",
                              path.string(), manifest));
    }
    refuse_to_replace(path.string(), std::string(kNpyMagic), "a .npy file");
  }
}

/// So that what is cut short leaves no older manifest to count rows of new tables.
void remove_manifest(const std::string& manifest) {
  std::error_code failure;
  std::filesystem::remove(resolved_target(manifest), failure);
  if (failure) {
    throw StorageError(fmt::format("{}: cannot be replaced: {}", manifest, failure.message()));
  }
}

/// Says what it wrote, a line a table. What fails leaves none, as they would be somebody's own
/// without a manifest.
std::string write_tables(const Prepared& prepared, const std::string& manifest) {
  std::string report;
  try {
    for (const PreparedTable& table : prepared.tables) {
      const std::filesystem::path path = table_path(manifest, table.modality);
      const int64_t replaced = write_table(table, path);
      report += fmt::format("table of {}: {}, [{}] float32, {} values that were not finite are 0\n",
                            table.modality, path.string(), fmt::join(table.shape, ", "), replaced);
    }
  } catch (...) {
    for (const PreparedTable& table : prepared.tables) {
      std::error_code missing;
      std::filesystem::remove(table_path(manifest, table.modality), missing);
    }
    throw;
  }
  return report;
}

void run(const PrepareArguments& arguments) {
  namespace fs = std::filesystem;
  PrepareOptions options{.raw = arguments.raw,
                         .split_lists = {},
                         .seed = static_cast<uint64_t>(arguments.seed),
                         .classes = {},
                         .scores = arguments.scores};
  for (const std::string& argument : arguments.split_lists) {
    options.split_lists.push_back(read_split_list(argument));
  }
  if (arguments.classes > 0) {
    options.classes = arguments.classes;
  }
  refuse_to_replace(arguments.manifest, "id,split,label", "a manifest");
  const Prepared prepared = prepare(arguments.data_set, options);
  const std::string manifest = manifest_of(prepared, folder_of(fs::path(arguments.manifest)));
  static_cast<void>(Manifest::parse(manifest, arguments.manifest, prepared.modalities));
  DurableFile file(arguments.manifest);
  std::string tables;
  if (!prepared.tables.empty()) {
    refuse_to_replace_tables(prepared, arguments.manifest);
    remove_manifest(arguments.manifest);
    tables = write_tables(prepared, arguments.manifest);
  }
  file.write(manifest.data(), manifest.size());
  file.commit();
  std::cout << report_of(prepared) << tables
            << fmt::format(
                   "modalities: {}\n{}{} samples in {}\n", fmt::join(prepared.modalities, ", "),
                   prepared.classes.empty()
                       ? ""
                       : fmt::format("classes = {}\n", nlohmann::json(prepared.classes).dump()),
                   prepared.samples.size(), arguments.manifest);
}

}  // namespace

void add_prepare(CLI::App& app) {
  auto arguments = std::make_shared<PrepareArguments>();
  CLI::App* command = app.add_subcommand(
      "prepare", "Write the manifest of a published data set, and say what was found");
  command
      ->add_option("DATASET", arguments->data_set,
                   fmt::format("One of {}", fmt::join(known_data_sets(), ", ")))
      ->required();
  command
      ->add_option("RAW_DIR", arguments->raw,
                   "Folder of the data set as it was published; of mosei and mosi its file too")
      ->required()
      ->check(not_empty);
  command->add_option("-o,--out", arguments->manifest, "The manifest to write")
      ->required()
      ->check(not_empty);
  command
      ->add_option("--split-list", arguments->split_lists,
                   "train=FILE, val=FILE or test=FILE: a published list of clips; may be repeated")
      ->take_all()
      ->expected(1);
  command->add_option("--seed", arguments->seed, "Decides the splits that are made")
      ->check(CLI::Range(int64_t{0}, std::numeric_limits<int64_t>::max()))
      ->capture_default_str();
  command
      ->add_option("--classes", arguments->classes,
                   "Expect this many classes instead of the data set's number")
      ->check(CLI::Range(int64_t{2}, int64_t{1000000}));
  command
      ->add_flag("--scores", arguments->scores,
                 "Of mosei and mosi: labels are the scores, for the tasks ordinal and regression")
      ->excludes("--classes");
  command->callback([arguments] { run(*arguments); });
}

}  // namespace unbraid
