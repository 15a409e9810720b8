#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "unbraid/core/durable_file.h"
#include "unbraid/core/safetensors.h"
#include "unbraid/core/torch.h"
#include "unbraid/data/data_hash.h"
#include "unbraid/training/event_file.h"
#include "unbraid/training/optimizer.h"
#include "unbraid/training/weight_average.h"

namespace unbraid {

/// What a checkpoint knows beside the weights. A run continues from the end of `epoch`.
struct RunState {
  int64_t epoch = 0;  // finished ones
  int64_t step = 0;   // optimizer steps taken
  int64_t best_epoch = 0;
  double best_value = 0;  // of the metric that selects, on val; NaN: it has none
  DataHash data = {};     // that it was trained on
  NamedTensors method;    // what the method remembers
};

/// The folder of one run: recipe.toml, inputs.json, metrics.jsonl, probes.jsonl, summary.json,
/// log.txt and checkpoints/last and checkpoints/best, each checkpoint replaced as a whole, and if
/// asked for an event file. Every failure is a StorageError naming the file.
class RunDirectory {
 public:
  /// Starts a run in a new folder, or in one where no checkpoint was saved yet; `recipe` is kept as
  /// its recipe.toml. Throws Error with kUsage when there is a run already or a file that the run
  /// would replace.
  static RunDirectory create(const std::filesystem::path& path, const std::string& recipe = "");
  /// Opens the run in `path` to continue or read it.
  static RunDirectory open(const std::filesystem::path& path);
  /// Throws what `create` would where there is a run already.
  static void check_free(const std::filesystem::path& path);
  /// Whether there is a run with a checkpoint, or one that has lost its own.
  [[nodiscard]] static bool holds_run(const std::filesystem::path& path);
  /// Whether `create` was here, be it that the run ended before its first checkpoint.
  [[nodiscard]] static bool was_created(const std::filesystem::path& path);

  /// Held while training: a StorageError says that another process holds it.
  [[nodiscard]] FileDescriptor lock() const;

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  /// The resolved recipe of the run, as it was when this was opened.
  [[nodiscard]] const std::string& recipe() const { return recipe_; }

  [[nodiscard]] std::string recipe_hash() const;

  /// Whether checkpoint `name` was ever saved.
  [[nodiscard]] bool has(const std::string& name) const;
  [[nodiscard]] bool has_summary() const;
  /// Saves weights, optimizer and state as checkpoint `name` ("last" or "best"). With an average
  /// its model is the averaged one, the weights that are trained on lie beside it.
  void save(const std::string& name, const torch::nn::Module& model, const Optimizer& optimizer,
            const RunState& state, const WeightAverage* average = nullptr);
  /// What checkpoint `name` knows beside weights and the method's memory, after every file of it
  /// was verified.
  [[nodiscard]] RunState state(const std::string& name) const;
  /// The whole state of checkpoint `name` after every file of it was verified; loads the model, or
  /// with an `average` that and the weights that are trained on, and the optimizer's state unless
  /// that is null.
  RunState load(const std::string& name, torch::nn::Module& model, Optimizer* optimizer,
                WeightAverage* average = nullptr) const;

  /// Appends a line to metrics.jsonl, on the disk when this returns.
  void append_metrics(const nlohmann::json& record);
  /// The same for probes.jsonl.
  void append_probes(const nlohmann::json& record);
  /// Drops the lines of metrics.jsonl and probes.jsonl from epochs after `epoch`, which will be run
  /// again, and the line of test, which is returned; null without one.
  nlohmann::json forget_metrics_after(int64_t epoch);
  /// From now on there is an event file for TensorBoard with what metrics.jsonl has.
  void keep_events();
  /// summary.json, which has to be there.
  [[nodiscard]] nlohmann::json summary() const;
  /// Whether there is a summary, and what it sums up was tested where the run has a test split.
  [[nodiscard]] bool is_finished() const;
  void write_summary(const nlohmann::json& summary);
  /// The content of quarantine.csv, empty when there is none.
  [[nodiscard]] std::string quarantine() const;
  /// Without content there is no file.
  void write_quarantine(const std::string& content);
  /// Keeps, as inputs.json, the shape that the samples of each modality have.
  void write_input_shapes(const std::map<std::string, std::vector<int64_t>>& shapes);
  /// What write_input_shapes kept; empty when it did not.
  [[nodiscard]] std::map<std::string, std::vector<int64_t>> input_shapes() const;
  /// Appends a line to log.txt.
  void log(const std::string& line);

 private:
  RunDirectory(std::filesystem::path path, std::string recipe);
  [[nodiscard]] std::filesystem::path checkpoint(const std::string& name) const;
  void append(const std::string& file, const std::string& line) const;
  void append_durably(const std::string& file, const nlohmann::json& record) const;

  std::filesystem::path path_;
  std::string recipe_;
  std::optional<EventFile> events_;
};

}  // namespace unbraid
