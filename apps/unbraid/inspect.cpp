#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <numeric>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "apps/unbraid/commands.h"
#include "apps/unbraid/model_check.h"
#include "apps/unbraid/progress.h"
#include "apps/unbraid/run_recipe.h"
#include "unbraid/core/durable_file.h"
#include "unbraid/core/error.h"
#include "unbraid/core/random.h"
#include "unbraid/core/stop.h"
#include "unbraid/data/contact_sheet.h"
#include "unbraid/media/file.h"
#include "unbraid/media/png_encoder.h"

namespace unbraid {
namespace {

struct InspectArguments {
  std::string recipe;
  std::vector<std::string> overrides;
  std::string split = "train";
  int64_t samples = 64;
  int64_t rows = 8;
  std::string sheet = "contact_sheet.png";
};

/// Values of one modality over the samples read.
struct Statistics {
  std::set<std::vector<int64_t>> shapes;
  double smallest = std::numeric_limits<double>::infinity();
  double largest = -std::numeric_limits<double>::infinity();
  double sum = 0;
  double sum_of_squares = 0;
  double count = 0;

  void add(const torch::Tensor& input) {
    shapes.insert(input.sizes().vec());
    const torch::Tensor values = input.to(torch::kDouble);
    smallest = std::min(smallest, values.min().item<double>());
    largest = std::max(largest, values.max().item<double>());
    sum += values.sum().item<double>();
    sum_of_squares += values.square().sum().item<double>();
    count += static_cast<double>(values.numel());
  }

  [[nodiscard]] std::string line() const {
    if (shapes.empty()) {
      return "missing in all of them";
    }
    const double mean = sum / count;
    const double deviation = std::sqrt(std::max(0.0, sum_of_squares / count - mean * mean));
    std::string all;
    for (const auto& shape : shapes) {
      all += fmt::format("{}[{}]", all.empty() ? "" : " ", fmt::join(shape, ", "));
    }
    return fmt::format("{:<22}{:>12.4g}{:>12.4g}{:>12.4g}{:>12.4g}", all, smallest, largest, mean,
                       deviation);
  }
};

/// Samples by label and split, labels in the order of their names, numbers by value; all together
/// where they are files, or too many, as measured values are.
std::string label_table(const Manifest& manifest, bool files) {
  const auto by_value = [](const std::string& left, const std::string& right) {
    const auto is_number = [](const std::string& text) {
      return text.size() < 10 && std::all_of(text.begin(), text.end(), ::isdigit);
    };
    return is_number(left) && is_number(right) ? std::stoi(left) < std::stoi(right) : left < right;
  };
  std::map<std::string, std::array<size_t, 3>, decltype(by_value)> counts(by_value);
  for (const ManifestRow& row : manifest.rows) {
    ++counts[files ? "a file each" : row.label][static_cast<size_t>(row.split)];
  }
  constexpr size_t kMostLabels = 500;
  if (counts.size() > kMostLabels) {
    std::array<size_t, 3> all{};
    for (const ManifestRow& row : manifest.rows) {
      ++all[static_cast<size_t>(row.split)];
    }
    const std::string title = fmt::format("{} labels", counts.size());
    counts.clear();
    counts[title] = all;
  }
  std::string text = fmt::format("{:<24}{:>8}{:>8}{:>8}\n", "label", "train", "val", "test");
  for (const auto& [label, cells] : counts) {
    text += fmt::format("{:<24}{:>8}{:>8}{:>8}\n", label, cells[0], cells[1], cells[2]);
  }
  return text;
}

/// A line on the classes that only val or test have, "" when there are none.
std::string classes_without_training(const Manifest& manifest, const Recipe& recipe) {
  if (recipe.task->metrics()->values().front().first != "accuracy") {
    return "";  // other labels are not one class each
  }
  std::set<std::string> trained;
  std::set<std::string> missing;
  for (const ManifestRow& row : manifest.rows) {
    (row.split == Split::kTrain ? trained : missing).insert(row.label);
  }
  std::erase_if(missing, [&](const std::string& label) { return trained.contains(label); });
  return missing.empty() ? ""
                         : fmt::format(
                               "warning: expected training samples of every class, found "
                               "none of {}\n",
                               fmt::join(missing, ", "));
}

/// A line where training would miss its validation; "" where it would not.
std::string without_val(const Manifest& manifest) {
  const bool any = std::any_of(manifest.rows.begin(), manifest.rows.end(),
                               [](const ManifestRow& row) { return row.split == Split::kVal; });
  return any ? "" : "warning: expected rows of the split val, which training needs, found none\n";
}

/// Empty cells by modality and split; "" when there are none.
std::string missing_table(const Manifest& manifest, const std::vector<std::string>& modalities) {
  std::vector<std::array<size_t, 3>> missing(modalities.size());
  bool any = false;
  for (const ManifestRow& row : manifest.rows) {
    for (size_t m = 0; m < modalities.size(); ++m) {
      missing[m][static_cast<size_t>(row.split)] += row.cells[m].empty() ? 1 : 0;
      any = any || row.cells[m].empty();
    }
  }
  if (!any) {
    return "";
  }
  std::string text = fmt::format("\n{:<24}{:>8}{:>8}{:>8}\n", "missing", "train", "val", "test");
  for (size_t m = 0; m < modalities.size(); ++m) {
    text += fmt::format("{:<24}{:>8}{:>8}{:>8}\n", modalities[m], missing[m][0], missing[m][1],
                        missing[m][2]);
  }
  return text;
}

std::vector<size_t> random_order(size_t size, uint64_t seed) {
  std::vector<size_t> order(size);
  std::iota(order.begin(), order.end(), size_t{0});
  RandomStream::of(seed, 0, "", "inspect").shuffle(order);
  return order;
}

/// Low frequencies at the bottom, as spectrograms are drawn.
torch::Tensor as_drawn(const torch::Tensor& input, const std::string& kind) {
  return kind == "audio" && input.defined() && input.dim() == 3 ? input.flip(1) : input;
}

/// The files that a cell names, "" for none.
std::array<std::string, 2> files_of(const ModalityRecipe& modality, const std::string& cell,
                                    const std::string& folder) {
  if (cell.empty() || modality.kind == "text") {
    return {};
  }
  std::string resolved;
  try {
    resolved = modality.decoder->resolve(cell, folder);
  } catch (const DataError&) {
    return {};  // found with its place when the rows are checked
  }
  const size_t pair = resolved.find(kPairSeparator);
  return {resolved.substr(0, pair), pair == std::string::npos ? "" : resolved.substr(pair + 1)};
}

/// Throws an Error with kUsage when `sheet` is a file that some cell names, or one in a folder of
/// frames that it names.
void refuse_to_replace_samples(const std::string& sheet, const Manifest& manifest,
                               const Recipe& recipe) {
  namespace fs = std::filesystem;
  struct stat target {};
  struct stat parent {};
  if (::stat(sheet.c_str(), &target) != 0 ||
      ::stat(fs::canonical(sheet).parent_path().c_str(), &parent) != 0) {
    return;
  }
  const auto check = [&](const ManifestRow& row, const std::string& name, const fs::path& path) {
    struct stat taken {};
    const auto is = [&](const struct stat& other) {
      return taken.st_dev == other.st_dev && taken.st_ino == other.st_ino;
    };
    if (!path.empty() && ::stat(path.c_str(), &taken) == 0 && (is(target) || is(parent))) {
      throw Error(ExitCode::kUsage,
                  fmt::format("{}: is of the data set ({}:{}: {}); name another file", sheet,
                              manifest.path, row.line, name));
    }
  };
  const std::string folder = fs::path(manifest.path).parent_path().string();
  for (const ManifestRow& row : manifest.rows) {
    throw_if_stopped();
    if (recipe.task->pixel_labels() != nullptr) {
      check(row, "label", fs::path(folder) / row.label);
    }
    for (size_t m = 0; m < row.cells.size(); ++m) {
      for (const std::string& file : files_of(recipe.modalities[m], row.cells[m], folder)) {
        check(row, recipe.modalities[m].name, file);
      }
    }
  }
}

/// Throws what `train` would, before there is a run, where the model does not take its data.
void check_model(const InspectArguments& arguments,
                 const std::shared_ptr<const Manifest>& manifest) {
  if (std::none_of(manifest->rows.begin(), manifest->rows.end(),
                   [](const ManifestRow& row) { return row.split == Split::kTrain; })) {
    return;
  }
  const Recipe recipe = read_sized_recipe(arguments.recipe, arguments.overrides);
  const auto train = open_required_split(recipe, manifest, Split::kTrain, nullptr);
  static_cast<void>(build_checked_model(recipe, *train, first_inputs(*train, recipe)));
}

void run(const InspectArguments& arguments) {
  refuse_to_replace(arguments.sheet, "\x89PNG", "a PNG");
  const Recipe recipe = read_recipe(arguments.recipe, arguments.overrides);
  const Split split = split_named(arguments.split);
  const auto manifest = recipe.open_manifest(show_generation);
  refuse_to_replace_samples(arguments.sheet, *manifest, recipe);
  std::cout << fmt::format("{}: {} samples\n{}{}{}{}", manifest->path, manifest->rows.size(),
                           label_table(*manifest, recipe.task->pixel_labels() != nullptr),
                           classes_without_training(*manifest, recipe), without_val(*manifest),
                           missing_table(*manifest, recipe.modality_names()));
  const auto data = open_required_split(recipe, manifest, split, recipe.open_cache());
  const bool training = split == Split::kTrain;
  std::vector<Statistics> statistics(recipe.modalities.size());
  std::vector<std::vector<torch::Tensor>> rows;
  std::vector<std::string> ids;
  size_t read = 0;
  std::vector<SkippedSample> skipped = data->dropped();
  for (const size_t index : random_order(data->size(), recipe.settings.seed)) {
    throw_if_stopped();
    if (read == static_cast<size_t>(arguments.samples)) {
      break;
    }
    Sample sample;
    try {
      sample = data->get(index, 0, training);
    } catch (const DataError& error) {
      if (!recipe.settings.skip_damaged) {
        throw;
      }
      skipped.push_back({data->id(index), error.what()});
      continue;
    }
    ++read;
    const bool shown = rows.size() < static_cast<size_t>(arguments.rows);
    if (shown) {
      rows.emplace_back();
      ids.push_back(data->id(index));
    }
    for (size_t m = 0; m < sample.inputs.size(); ++m) {
      if (sample.inputs[m].defined()) {
        statistics[m].add(sample.inputs[m]);
      }
      if (shown) {
        rows.back().push_back(as_drawn(sample.inputs[m], recipe.modalities[m].kind));
      }
    }
    if (const PixelLabels* labels = recipe.task->pixel_labels(); shown && labels != nullptr) {
      rows.back().push_back(sample.target.masked_fill(sample.target == labels->ignore, -1));
    }
  }
  if (read == 0) {
    throw DataError("expected samples, none can be read: " + skipped.front().reason);
  }
  std::cout << fmt::format(
      "\n{} of {} samples of {}, {}\n{:<12}{:<8}{:<22}{:>12}{:>12}{:>12}{:>12}\n", read,
      data->size(), arguments.split,
      training ? "augmented as in the first epoch" : "as in evaluation", "modality", "kind",
      "shape", "min", "max", "mean", "std");
  for (size_t m = 0; m < statistics.size(); ++m) {
    const ModalityRecipe& modality = recipe.modalities[m];
    std::cout << fmt::format("{:<12}{:<8}{}\n", modality.name, modality.kind, statistics[m].line());
  }
  for (const SkippedSample& sample : skipped) {
    std::cout << "cannot be read: " << sample.reason << "\n";
  }
  const torch::Tensor sheet = contact_sheet(rows);
  write_file_durably(arguments.sheet,
                     encode_png(static_cast<int>(sheet.size(0)), static_cast<int>(sheet.size(1)), 3,
                                {sheet.data_ptr<uint8_t>(), static_cast<size_t>(sheet.numel())}));
  std::cout << fmt::format("\n{}: from top to bottom {}; from left to right {}{}\n",
                           arguments.sheet, fmt::join(ids, ", "),
                           fmt::join(recipe.modality_names(), ", "),
                           recipe.task->pixel_labels() == nullptr ? "" : ", label")
            << std::flush;
  check_model(arguments, manifest);
}

}  // namespace

void add_inspect(CLI::App& app) {
  auto arguments = std::make_shared<InspectArguments>();
  CLI::App* command = app.add_subcommand(
      "inspect", "Show what a recipe's model will see: shapes, ranges, classes, a contact sheet");
  command->add_option("RECIPE", arguments->recipe, "TOML file")->required();
  add_set(*command, arguments->overrides);
  command->add_option("--split", arguments->split, "train, val or test")->capture_default_str();
  command
      ->add_option("--samples", arguments->samples, "How many samples to read, drawn by the seed")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  command->add_option("--rows", arguments->rows, "How many of them to draw")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_option("--sheet", arguments->sheet, "The picture to write, a PNG")
      ->check(not_empty)
      ->capture_default_str();
  command->callback([arguments] { run(*arguments); });
}

}  // namespace unbraid
