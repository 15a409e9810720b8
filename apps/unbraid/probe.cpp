#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <set>
#include <sstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "apps/unbraid/commands.h"
#include "apps/unbraid/model_check.h"
#include "apps/unbraid/probe_report.h"
#include "apps/unbraid/progress.h"
#include "apps/unbraid/run_recipe.h"
#include "unbraid/analysis/constant_answer.h"
#include "unbraid/analysis/linear_probe.h"
#include "unbraid/analysis/run_record.h"
#include "unbraid/analysis/shapley.h"
#include "unbraid/core/durable_file.h"
#include "unbraid/core/stop.h"
#include "unbraid/tasks/classification.h"
#include "unbraid/training/probing.h"

namespace unbraid {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kJsonStart = "{\n  \"unbraid_probe\": 1,";

struct ProbeArguments {
  std::string given;
  std::string checkpoint;
  std::string split = "val";
  int64_t batches = 0;
  std::vector<std::string> overrides;
  std::string out;
  std::string json_file;
};

/// What is probed.
struct Subject {
  fs::path run;
  std::string checkpoint;  // empty: not said
};

/// The run, or the checkpoint of one, that `given` is the folder of; none when it is no folder.
std::optional<Subject> run_in(const std::string& given) {
  if (!fs::is_directory(given)) {
    return std::nullopt;
  }
  if (fs::exists(fs::path(given) / "recipe.toml")) {
    return Subject{given, ""};
  }
  const fs::path folder = fs::absolute(fs::path(given) / "").lexically_normal().parent_path();
  const std::string name = folder.filename().string();
  const fs::path run = folder.parent_path().parent_path();
  if ((name == "best" || name == "last") && folder.parent_path().filename() == "checkpoints" &&
      fs::exists(run / "recipe.toml")) {
    return Subject{run, name};
  }
  throw Error(ExitCode::kUsage, given +
                                    ": expected a recipe, the folder of a run or one of its "
                                    "checkpoints, found a folder that is neither");
}

/// Trains the recipe as `unbraid train` does, with probes; the folder of the run.
fs::path train_with_probes(const ProbeArguments& arguments) {
  std::vector<std::string> overrides = arguments.overrides;
  overrides.insert(overrides.begin(), "probe.gradients=true");
  const Recipe recipe = read_sized_recipe(arguments.given, overrides);
  fs::path out =
      arguments.out.empty() ? default_folder(arguments.given, recipe) : fs::path(arguments.out);
  RunDirectory::check_free(out);
  const OpenedParts parts = open_parts(recipe, recipe.open_cache(), true);
  RunDirectory directory = RunDirectory::create(out, recipe.resolved);
  run_recipe(recipe, parts, directory, false, recipe.method->name());
  return out;
}

/// What the run measured after its epochs.
json history_of(const fs::path& run) {
  json history = json::array();
  for (const ProbeLine& line : read_probe_lines(run / "probes.jsonl")) {
    history.push_back({{"epoch", line.epoch}, {"modalities", line.modalities}});
  }
  return history;
}

/// Measures one checkpoint.
class Probing {
 public:
  Probing(const Recipe& recipe, MultimodalModel model, std::shared_ptr<ManifestDataSet> train,
          std::shared_ptr<ManifestDataSet> split)
      : recipe_(recipe),
        model_(std::move(model)),
        train_(std::move(train)),
        split_(std::move(split)) {}

  /// Of the gradients, and which parameters get none.
  void gradients(int64_t batches, json& into) {
    GradientProbe probe(*model_, *recipe_.task);
    std::set<std::string> reached;
    int64_t used = 0;
    for_first_batches(train_, recipe_.settings, batches, [&](const Batch& batch) {
      ++used;
      probe.add(batch);
      reached.merge(reached_parameters(*model_, *recipe_.task, batch, recipe_.method->route()));
    });
    into["gradients"] = {{"batches", used}, {"modalities", to_json(probe.result(), *model_)}};
    json frozen = json::array();
    json unreached = json::array();
    const auto parameters = model_->named_parameters();
    for (const auto& parameter : parameters) {
      if (!parameter.value().requires_grad()) {
        frozen.push_back(parameter.key());
      } else if (!reached.contains(parameter.key())) {
        unreached.push_back(parameter.key());
      }
    }
    into["parameters"] = {{"all", parameters.size()}, {"frozen", frozen}, {"unreached", unreached}};
  }

  /// Null for other tasks than classification.
  [[nodiscard]] json linear_probes() {
    if (dynamic_cast<const Classification*>(recipe_.task.get()) == nullptr) {
      return nullptr;
    }
    const std::vector<Features> train = features_of(train_);
    const std::vector<Features> split = features_of(split_);
    json modalities = json::object();
    for (size_t m = 0; m < train.size(); ++m) {
      throw_if_stopped();
      json& to = modalities[model_->name(m)];
      to = {{"samples", split[m].samples()}, {"alone", nullptr}, {"value", nullptr}};
      if (train[m].samples() > 0 && split[m].samples() > 0) {
        const LinearProbe probe(train[m].all(), train[m].labels(), recipe_.task->outputs());
        to = {{"samples", split[m].samples()},
              {"value", score(probe, split[m])},
              {"value_on_train", score(probe, train[m])},
              {"alone", split[m].alone->values().front().second}};
      }
    }
    return {{"metric", recipe_.task->metrics()->values().front().first},
            {"modalities", modalities}};
  }

  /// Null for too many modalities.
  [[nodiscard]] json shapley() {
    constexpr size_t kMostModalities = 12;
    if (model_->size() > kMostModalities) {
      return nullptr;
    }
    ConstantAnswer answer(*recipe_.task);
    for (size_t i = 0; i < train_->size(); ++i) {
      throw_if_stopped();
      try {
        answer.add(train_->target(i));
      } catch (const DataError&) {
        if (!recipe_.settings.skip_damaged) {
          throw;
        }
      }
    }
    const auto subsets =
        evaluate_subsets(*model_, *recipe_.task, split_, recipe_.settings, answer.output());
    std::vector<double> values(size_t{1} << model_->size());
    json rows = json::array();
    for (const SubsetScores& subset : subsets) {
      size_t index = 0;
      json names = json::array();
      for (size_t m = 0; m < model_->size(); ++m) {
        if (subset.present[m]) {
          index |= size_t{1} << m;
          names.push_back(model_->name(m));
        }
      }
      values[index] = subset.scores.selecting();
      rows.push_back({{"modalities", names}, {"value", values[index]}});
    }
    const std::vector<double> shares = shapley_values(values);
    json modalities = json::object();
    for (size_t m = 0; m < shares.size(); ++m) {
      modalities[model_->name(m)] = shares[m];
    }
    return {{"metric", subsets.back().scores.metrics.front().first},
            {"smaller_is_better", subsets.back().scores.smaller_is_better},
            {"empty", values.front()},
            {"modalities", modalities},
            {"all", values.back()},
            {"subsets", rows}};
  }

 private:
  /// The features of one modality over a split, and how its unimodal view does.
  struct Features {
    std::vector<torch::Tensor> by_batch;
    std::vector<torch::Tensor> labels_by_batch;
    std::unique_ptr<Metrics> alone;

    [[nodiscard]] torch::Tensor all() const { return torch::cat(by_batch); }
    [[nodiscard]] torch::Tensor labels() const { return torch::cat(labels_by_batch); }
    [[nodiscard]] int64_t samples() const { return labels_by_batch.empty() ? 0 : labels().size(0); }
  };

  [[nodiscard]] std::vector<Features> features_of(const std::shared_ptr<ManifestDataSet>& data) {
    std::vector<Features> features(model_->size());
    for (Features& of : features) {
      of.alone = recipe_.task->metrics();
    }
    for_each_encoded(*model_, data, recipe_.settings,
                     [&](const Batch& batch, const ModalityTensors& encoded) {
                       for (size_t m = 0; m < encoded.size(); ++m) {
                         if (!encoded[m].defined()) {
                           continue;
                         }
                         const torch::Tensor target = batch.presence.pack(batch.target, m);
                         features[m].alone->update(model_->alone(m, encoded[m]), target);
                         features[m].labels_by_batch.push_back(target.cpu());
                         features[m].by_batch.push_back(
                             pooled_feature(encoded[m]).to(torch::kCPU, torch::kFloat));
                       }
                     });
    return features;
  }

  [[nodiscard]] double score(const LinearProbe& probe, const Features& features) const {
    const auto metrics = recipe_.task->metrics();
    metrics->update(probe.logits(features.all()), features.labels());
    return metrics->values().front().second;
  }

  const Recipe& recipe_;
  MultimodalModel model_;
  std::shared_ptr<ManifestDataSet> train_;
  std::shared_ptr<ManifestDataSet> split_;
};

json probe_run(const Subject& subject, const ProbeArguments& arguments) {
  constexpr int64_t kBatches = 4;
  const RunDirectory directory = RunDirectory::open(subject.run);
  const Recipe recipe =
      parse_recipe(directory.recipe(), (directory.path() / "recipe.toml").string());
  const Split which = split_named(arguments.split);
  const auto manifest = recipe.open_manifest(show_generation);
  const auto cache = recipe.open_cache();
  const auto train = open_required_split(recipe, manifest, Split::kTrain, cache);
  const auto split =
      which == Split::kTrain ? train : open_required_split(recipe, manifest, which, cache);
  expect_shapes_of_run(*train, directory, recipe);
  expect_shapes_of_run(*split, directory, recipe);
  MultimodalModel model = recipe.build_model();
  const RunState state = directory.load(subject.checkpoint, *model, nullptr);
  json probe = {{"run", subject.run.string()},
                {"checkpoint", subject.checkpoint},
                {"epoch", state.epoch},
                {"method", recipe.method->name()},
                {"modalities", recipe.modality_names()},
                {"split", arguments.split}};
  const int64_t of_recipe = recipe.settings.probe_batches;
  const int64_t batches = arguments.batches > 0 ? arguments.batches
                          : of_recipe > 0       ? of_recipe
                                                : kBatches;
  Probing probing(recipe, model, train, split);
  probing.gradients(batches, probe);
  probe["history"] = history_of(subject.run);
  probe["linear_probe"] = probing.linear_probes();
  probe["shapley"] = probing.shapley();
  warn_of_other_data(recipe, *manifest, state);
  return probe;
}

void run(const ProbeArguments& arguments) {
  std::optional<Subject> subject = run_in(arguments.given);
  if (subject && (!arguments.overrides.empty() || !arguments.out.empty())) {
    throw Error(ExitCode::kUsage,
                arguments.given + ": --set and --out are for recipes, this is a run");
  }
  if (subject && !subject->checkpoint.empty() && !arguments.checkpoint.empty() &&
      subject->checkpoint != arguments.checkpoint) {
    throw Error(ExitCode::kUsage, fmt::format("--checkpoint {}: expected none beside the folder of "
                                              "a checkpoint, {}",
                                              arguments.checkpoint, arguments.given));
  }
  split_named(arguments.split);  // before a run is trained for nothing
  if (!arguments.json_file.empty()) {
    refuse_to_replace(arguments.json_file, kJsonStart, "a file of probes");
  }
  if (!subject) {
    subject = Subject{train_with_probes(arguments), ""};
  }
  if (subject->checkpoint.empty()) {
    subject->checkpoint = arguments.checkpoint.empty() ? "best" : arguments.checkpoint;
  }
  const json probe = probe_run(*subject, arguments);
  if (!arguments.json_file.empty()) {
    write_file_durably(arguments.json_file, kJsonStart + probe.dump(2).substr(1) + "\n");
  }
  std::cout << format_probe(probe);
}

}  // namespace

void add_probe(CLI::App& app) {
  auto arguments = std::make_shared<ProbeArguments>();
  CLI::App* command = app.add_subcommand(
      "probe", "Measure how much gradient the fusion takes away, and what encoders know");
  command
      ->add_option("RUN_OR_RECIPE", arguments->given,
                   "Folder of a run or of one of its checkpoints; or a recipe, which is trained "
                   "first, with probes after each epoch")
      ->required()
      ->check(not_empty);
  command->add_option("--checkpoint", arguments->checkpoint, "best (the default) or last")
      ->check(CLI::IsMember({"best", "last"}));
  command
      ->add_option("--split", arguments->split,
                   "train, val or test: what linear probes and Shapley values are scored on")
      ->capture_default_str();
  command
      ->add_option("--batches", arguments->batches,
                   "Training batches for the gradients; default probe.batches of the recipe")
      ->check(CLI::Range(int64_t{1}, int64_t{1000000}));
  add_set(*command, arguments->overrides);
  add_out(*command, arguments->out, "Folder of the run of a recipe; default as of train");
  command->add_option("--json", arguments->json_file, "Write what was found to this file, too")
      ->check(not_empty);
  command->callback([arguments] { run(*arguments); });
}

}  // namespace unbraid
