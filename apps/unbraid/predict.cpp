#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "apps/unbraid/commands.h"
#include "apps/unbraid/run_recipe.h"
#include "unbraid/core/durable_file.h"
#include "unbraid/data/csv.h"

namespace unbraid {
namespace {

struct PredictArguments {
  std::string run;
  std::string manifest;
  std::string out;
  std::vector<std::string> absent;
  bool skip_damaged = false;
};

/// The manifest's rows, cells of absent modalities empty. Rows without any cell are an error, or
/// with `skip` moved to `skipped`.
std::shared_ptr<const Manifest> read_rows(const std::string& path,
                                          const std::vector<std::string>& modalities,
                                          const std::vector<bool>& absent, bool skip,
                                          std::vector<SkippedSample>& skipped) {
  std::vector<std::string> present;
  for (size_t m = 0; m < modalities.size(); ++m) {
    if (!absent[m]) {
      present.push_back(modalities[m]);
    }
  }
  auto manifest = std::make_shared<Manifest>(Manifest::read_unlabelled(path, present));
  std::erase_if(manifest->rows, [&](const ManifestRow& row) {
    const bool empty = std::all_of(row.cells.begin(), row.cells.end(),
                                   [](const std::string& cell) { return cell.empty(); });
    if (empty) {
      const std::string reason =
          fmt::format("{}:{}: expected a cell for at least one of {}, all are empty", path,
                      row.line, fmt::join(present, ", "));
      if (!skip) {
        throw DataError(reason);
      }
      skipped.push_back({row.id, reason});
    }
    return empty;
  });
  for (ManifestRow& row : manifest->rows) {
    for (size_t m = 0; m < modalities.size(); ++m) {
      if (absent[m]) {
        row.cells.insert(row.cells.begin() + static_cast<std::ptrdiff_t>(m), "");
      }
    }
  }
  return manifest;
}

/// Columns of the fused output, then of each modality alone.
std::string header_of(const std::vector<std::string>& columns,
                      const std::vector<std::string>& modalities) {
  std::string header = "id";
  for (const std::string& column : columns) {
    header += fmt::format(",{}", csv_field(column));
  }
  for (const std::string& modality : modalities) {
    for (const std::string& column : columns) {
      header += fmt::format(",{}", csv_field(fmt::format("{}.{}", modality, column)));
    }
  }
  header += '\n';
  return header;
}

/// Appends the cells of `output`, whose rows are the samples that `has` marks, to their lines;
/// undefined: all samples.
void append_cells(std::vector<std::string>& lines, const Task& task, const torch::Tensor& output,
                  const torch::Tensor& has, size_t columns) {
  const auto cells =
      output.defined() ? task.predictions(output) : std::vector<std::vector<std::string>>();
  auto row = cells.begin();
  for (size_t i = 0; i < lines.size(); ++i) {
    if (row == cells.end() || (has.defined() && !has[static_cast<int64_t>(i)].item<bool>())) {
      lines[i].append(columns, ',');
      continue;
    }
    for (const std::string& cell : *row) {
      lines[i] += fmt::format(",{}", csv_field(cell));
    }
    ++row;
  }
}

/// The lines of one batch.
std::string lines_of(MultimodalModelImpl& model, const Task& task, const Batch& batch,
                     const ModalityTensors& features, size_t columns) {
  std::vector<std::string> lines;
  for (const std::string& id : batch.ids) {
    lines.push_back(csv_field(id));
  }
  append_cells(lines, task, fuse_checked(model, batch, features, batch.presence), {}, columns);
  for (size_t m = 0; m < model.size(); ++m) {
    const torch::Tensor alone =
        features[m].defined() ? model.alone(m, features[m]) : torch::Tensor();
    const torch::Tensor has = batch.presence.complete(m)
                                  ? torch::Tensor()
                                  : batch.presence.mask().select(1, static_cast<int64_t>(m));
    append_cells(lines, task, alone, has, columns);
  }
  return fmt::format("{}\n", fmt::join(lines, "\n"));
}

void run(const PredictArguments& arguments) {
  const RunDirectory directory = RunDirectory::open(arguments.run);
  Recipe recipe = parse_recipe(directory.recipe(), (directory.path() / "recipe.toml").string());
  recipe.settings.skip_damaged = recipe.settings.skip_damaged || arguments.skip_damaged;
  const auto names = recipe.modality_names();
  const auto columns = recipe.task->prediction_columns();
  std::error_code ignored;
  if (std::filesystem::equivalent(arguments.out, arguments.manifest, ignored)) {
    throw Error(ExitCode::kUsage,
                fmt::format("{}: is the manifest; name another file", arguments.out));
  }
  const std::string header = header_of(columns, names);
  refuse_to_replace(arguments.out, header, "a file of such predictions");
  const std::vector<bool> absent = read_absent(arguments.absent, names);
  std::vector<SkippedSample> skipped;
  const auto manifest =
      read_rows(arguments.manifest, names, absent, recipe.settings.skip_damaged, skipped);
  const auto data = recipe.open_unlabelled(manifest, recipe.open_cache());
  expect_shapes_of_run(*data, directory, recipe);
  skipped.insert(skipped.end(), data->dropped().begin(), data->dropped().end());
  MultimodalModel model = recipe.build_model();
  const RunState state = directory.load("best", *model, nullptr);
  DurableFile file(arguments.out);
  const auto write = [&](const std::string& text) { file.write(text.data(), text.size()); };
  write(header);
  size_t predicted = 0;
  if (data->size() > 0) {
    const auto unread = for_each_encoded(
        *model, data, recipe.settings, [&](const Batch& batch, const ModalityTensors& features) {
          write(lines_of(*model, *recipe.task, batch, features, columns.size()));
          predicted += batch.ids.size();
        });
    skipped.insert(skipped.end(), unread.begin(), unread.end());
  }
  for (const SkippedSample& sample : skipped) {
    std::cerr << "left out: " << on_one_line(sample.reason) << "\n";
  }
  if (!skipped.empty()) {
    std::cerr << fmt::format("left out: {} of {} rows\n", skipped.size(),
                             skipped.size() + predicted);
  }
  if (predicted == 0) {
    throw DataError(
        fmt::format("{}: expected rows to predict, none can be read", arguments.manifest));
  }
  file.commit();
  std::cout << fmt::format(
      "{}: {} rows, epoch {}{}\n", arguments.out, predicted, state.epoch,
      skipped.empty() ? "" : fmt::format(" ({} more cannot be read)", skipped.size()));
}

}  // namespace

void add_predict(CLI::App& app) {
  auto arguments = std::make_shared<PredictArguments>();
  CLI::App* command = app.add_subcommand(
      "predict", "Write what the best checkpoint of a run says of every row of a manifest");
  command->add_option("RUN", arguments->run, "Folder of a run")->required()->check(not_empty);
  command
      ->add_option("MANIFEST", arguments->manifest,
                   "CSV with id and a column a modality; split and label are not looked at")
      ->required()
      ->check(not_empty);
  command->add_option("-o,--out", arguments->out, "The CSV file to write")
      ->required()
      ->check(not_empty);
  add_absent(*command, arguments->absent, "Predict as if this modality did not exist");
  command->add_flag("--skip-damaged", arguments->skip_damaged,
                    "Leave out, and list, rows that cannot be read, as with data.on_error = "
                    "\"skip\" in the run's recipe");
  command->callback([arguments] { run(*arguments); });
}

}  // namespace unbraid
