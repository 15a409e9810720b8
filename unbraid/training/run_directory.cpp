#include "unbraid/training/run_directory.h"

#include <algorithm>
#include <cmath>
#include <fstream>

#include <fmt/format.h>
#include <xxhash.h>
#include <nlohmann/json.hpp>

#include "unbraid/core/error.h"
#include "unbraid/core/torch.h"
#include "unbraid/training/checkpoint_directory.h"
#include "unbraid/training/json_file.h"
#include "unbraid/training/weights.h"

namespace unbraid {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr uint64_t kMaxTextBytes = uint64_t{1} << 30;
constexpr const char* kModel = "model.safetensors";
constexpr const char* kTrained = "trained.safetensors";  // beside an average
constexpr const char* kMethod = "method.safetensors";    // of methods that remember something

std::string hash_of(const std::string& text) {
  return fmt::format("{:016x}", XXH3_64bits(text.data(), text.size()));
}

bool is_there(const fs::path& path) {
  std::error_code failure;
  return fs::exists(path, failure);
}

json to_json(const RunState& state, const std::string& recipe) {
  // Shuffling, augmentation and initial weights are functions of the seed, the epoch and names, and
  // the learning rate is one of the step: position and generators have no state beside these.
  json record{{"epoch", state.epoch},
              {"step", state.step},
              {"loader", {{"epoch", state.epoch + 1}, {"batch", 0}}},
              {"schedule", {{"step", state.step}}},
              {"rng", "a function of (seed, epoch, sample, purpose)"},
              {"best_epoch", state.best_epoch},
              {"best_value", state.best_value},
              {"recipe_hash", hash_of(recipe)},
              {"versions", {{"libtorch", TORCH_VERSION}, {"checkpoint", 1}}},
              {"threads", at::get_num_threads()}};
  record.update(to_json(state.data));
  return record;
}

/// As dump(2), but a list of numbers is one line.
std::string readable(const json& value, const std::string& indent = "") {
  const bool list =
      value.is_array() && std::any_of(value.begin(), value.end(),
                                      [](const json& item) { return item.is_structured(); });
  if (value.empty() || (!value.is_object() && !list)) {
    return value.dump();
  }
  const std::string deeper = indent + "  ";
  std::string text = list ? "[" : "{";
  const char* separator = "\n";
  for (const auto& [key, item] : value.items()) {
    text += separator + deeper + (list ? "" : json(key).dump() + ": ") + readable(item, deeper);
    separator = ",\n";
  }
  return text + "\n" + indent + (list ? "]" : "}");
}

RunState state_from(const fs::path& path, const std::string& recipe) {
  const json content = read_json_object(path);
  const JsonFields fields(content, path.string());
  RunState state;
  state.epoch = fields.count("epoch");
  state.step = fields.count("step");
  state.best_epoch = fields.count("best_epoch");
  state.best_value = fields.number("best_value");
  if (fields.has("data_hash")) {  // not in older versions
    state.data = data_hash_of(fields);
  }
  if (fields.text("recipe_hash") != hash_of(recipe)) {
    throw StorageError(path.string() +
                       ": the checkpoint belongs to another recipe than the "
                       "recipe.toml of this run");
  }
  return state;
}

/// Drops the lines of `path`, a file of JSON lines, from epochs after `epoch` and of test; returns
/// the last of test.
json forget_lines_after(int64_t epoch, const fs::path& path) {
  std::string kept;
  json tested;
  for (const json& record : whole_json_lines(path)) {
    const auto of = record.find("epoch");
    const auto split = record.find("split");
    if (split != record.end() && *split == "test") {
      tested = record;
    } else if (of != record.end() && of->is_number_integer() && of->get<int64_t>() <= epoch) {
      kept += record.dump() + "\n";
    }
  }
  write_file_durably(path, kept);
  return tested;
}

}  // namespace

RunDirectory::RunDirectory(fs::path path, std::string recipe)
    : path_(std::move(path)), recipe_(std::move(recipe)) {}

bool RunDirectory::holds_run(const fs::path& path) {
  std::error_code none;
  const bool finished_epochs = was_ever_written(path / "checkpoints" / "best") ||
                               (fs::file_size(path / "metrics.jsonl", none) > 0 && !none);
  return is_there(path / "recipe.toml") &&
         (finished_epochs || was_ever_written(path / "checkpoints" / "last"));
}

bool RunDirectory::was_created(const fs::path& path) {
  return is_there(path / "recipe.toml") &&
         (is_there(path / "metrics.jsonl") || is_there(path / "checkpoints"));
}

std::string RunDirectory::recipe_hash() const { return hash_of(recipe_); }

bool RunDirectory::has(const std::string& name) const {
  return was_ever_written(path_ / "checkpoints" / name);
}

bool RunDirectory::has_summary() const { return is_there(path_ / "summary.json"); }

FileDescriptor RunDirectory::lock() const {
  return lock_folder(path_, "is training in this folder");
}

void RunDirectory::check_free(const fs::path& path) {
  if (holds_run(path)) {
    throw Error(ExitCode::kUsage,
                path.string() +
                    ": already holds a run; \"unbraid train\" with --resume continues it, --out "
                    "names another folder");
  }
  if (!is_there(path / "recipe.toml") && was_ever_written(path / "checkpoints" / "last")) {
    throw StorageError(
        (path / "recipe.toml").string() +
        ": expected the recipe of the run whose checkpoints are here, it is missing");
  }
  if (is_there(path / "checkpoints")) {
    return;  // of a run that ended before its first checkpoint
  }
  std::vector<std::string> names{"recipe.toml",  "inputs.json",  "metrics.jsonl",
                                 "probes.jsonl", "summary.json", "log.txt"};
  if (const fs::path events = EventFile::find(path); !events.empty()) {
    names.push_back(events.filename().string());
  }
  for (const std::string& name : names) {
    if (is_there(path / name)) {
      throw Error(ExitCode::kUsage,
                  fmt::format("{}: expected a new or empty folder, found a {} that belongs to no "
                              "run; --out names another folder",
                              path.string(), name));
    }
  }
}

RunDirectory RunDirectory::create(const fs::path& path, const std::string& recipe) {
  check_free(path);
  std::error_code failure;
  fs::create_directories(path / "checkpoints", failure);
  if (failure) {
    throw StorageError(path.string() + ": cannot create the run's folder: " + failure.message());
  }
  fs::remove(path / "probes.jsonl", failure);  // of a run that lost its checkpoints
  write_file_durably(path / "metrics.jsonl", "");
  write_file_durably(path / "recipe.toml", recipe);
  return {path, recipe};
}

RunDirectory RunDirectory::open(const fs::path& path) {
  if (!is_there(path / "recipe.toml")) {
    throw StorageError(path.string() + ": expected a run's folder, but it has no recipe.toml");
  }
  return {path, read_whole_file(path / "recipe.toml", kMaxTextBytes)};
}

void RunDirectory::save(const std::string& name, const torch::nn::Module& model,
                        const Optimizer& optimizer, const RunState& state,
                        const WeightAverage* average) {
  write_directory_atomically(path_ / "checkpoints" / name, [&](const fs::path& staging) {
    write_safetensors((staging / kModel).string(),
                      average != nullptr ? average->weights() : weights_of(model));
    if (average != nullptr) {
      write_safetensors((staging / kTrained).string(), weights_of(model));
    }
    write_safetensors((staging / "optimizer.safetensors").string(), optimizer.state());
    if (!state.method.empty()) {
      write_safetensors((staging / kMethod).string(), state.method);
    }
    write_file_durably(staging / "state.json", to_json(state, recipe_).dump(2) + "\n");
  });
}

fs::path RunDirectory::checkpoint(const std::string& name) const {
  if (!has(name)) {
    throw StorageError((path_ / "checkpoints" / name).string() +
                       ": expected a checkpoint of this run, which is missing");
  }
  return find_valid_directory(path_ / "checkpoints" / name);
}

RunState RunDirectory::state(const std::string& name) const {
  return state_from(checkpoint(name) / "state.json", recipe_);
}

RunState RunDirectory::load(const std::string& name, torch::nn::Module& model, Optimizer* optimizer,
                            WeightAverage* average) const {
  const fs::path checkpoint = this->checkpoint(name);
  RunState state = state_from(checkpoint / "state.json", recipe_);
  if (is_there(checkpoint / kMethod)) {
    state.method = read_safetensors((checkpoint / kMethod).string()).tensors;
  }
  if (average != nullptr) {
    load_weights(average->weights(), (checkpoint / kModel).string());
  }
  load_weights(weights_of(model), (checkpoint / (average != nullptr ? kTrained : kModel)).string());
  if (optimizer != nullptr) {
    optimizer->load_state(
        read_safetensors((checkpoint / "optimizer.safetensors").string()).tensors);
  }
  return state;
}

void RunDirectory::append(const std::string& file, const std::string& line) const {
  std::ofstream stream(path_ / file, std::ios::app);
  stream << line << "\n" << std::flush;
  if (!stream) {
    throw StorageError((path_ / file).string() + ": cannot be written");
  }
}

void RunDirectory::append_durably(const std::string& file, const json& record) const {
  append(file, record.dump());
  sync_path(path_ / file);
}

void RunDirectory::append_metrics(const json& record) {
  append_durably("metrics.jsonl", record);
  if (events_) {
    events_->append(record);
  }
}

void RunDirectory::keep_events() {
  events_.emplace(path_, whole_json_lines(path_ / "metrics.jsonl"));
}

void RunDirectory::append_probes(const json& record) { append_durably("probes.jsonl", record); }

json RunDirectory::forget_metrics_after(int64_t epoch) {
  if (const fs::path probes = path_ / "probes.jsonl"; is_there(probes)) {
    static_cast<void>(forget_lines_after(epoch, probes));
  }
  return forget_lines_after(epoch, path_ / "metrics.jsonl");
}

json RunDirectory::summary() const { return read_json_object(path_ / "summary.json"); }

bool RunDirectory::is_finished() const { return has_summary() && !summary().contains("no_test"); }

void RunDirectory::write_summary(const json& summary) {
  write_file_durably(path_ / "summary.json", readable(summary) + "\n");
}

std::string RunDirectory::quarantine() const {
  const fs::path path = path_ / "quarantine.csv";
  return is_there(path) ? read_whole_file(path, kMaxTextBytes) : "";
}

void RunDirectory::write_quarantine(const std::string& content) {
  if (content.empty()) {
    std::error_code missing;
    fs::remove(path_ / "quarantine.csv", missing);
    return;
  }
  write_file_durably(path_ / "quarantine.csv", content);
}

void RunDirectory::write_input_shapes(const std::map<std::string, std::vector<int64_t>>& shapes) {
  write_file_durably(path_ / "inputs.json", json(shapes).dump() + "\n");
}

std::map<std::string, std::vector<int64_t>> RunDirectory::input_shapes() const {
  const fs::path path = path_ / "inputs.json";
  if (!is_there(path)) {
    return {};
  }
  try {
    return json::parse(read_whole_file(path, kMaxTextBytes))
        .get<std::map<std::string, std::vector<int64_t>>>();
  } catch (const json::exception&) {
    throw StorageError(path.string() +
                       ": expected the shapes of a run's inputs, found something else");
  }
}

void RunDirectory::log(const std::string& line) { append("log.txt", line); }

}  // namespace unbraid
