#include <algorithm>
#include <array>
#include <filesystem>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "apps/unbraid/commands.h"
#include "apps/unbraid/model_check.h"
#include "apps/unbraid/progress.h"
#include "apps/unbraid/run_queue.h"
#include "apps/unbraid/run_recipe.h"
#include "unbraid/analysis/comparison.h"
#include "unbraid/analysis/verdict.h"
#include "unbraid/core/durable_file.h"
#include "unbraid/core/process.h"
#include "unbraid/methods/method.h"

namespace unbraid {
namespace {

namespace fs = std::filesystem;

/// What a comparison writes beside its runs.
constexpr std::array kFiles{"comparison.txt", "comparison.csv", "comparison.md",
                            "comparison.tex", "runs.csv",       "tuning.txt"};

struct CompareArguments {
  std::string recipe;
  std::string methods = "joint,auxiliary,dgl";
  int seeds = 5;
  std::vector<std::string> tuned;
  std::vector<std::string> overrides;
  std::string out;
  int jobs = 0;
};

/// A method of the comparison, or a modality trained alone.
struct Contender {
  std::string label;
  std::string folder;
  std::vector<std::string> overrides;
  bool taught = false;  // by the runs of each modality alone, which have to be there first
};

/// The values to try for a recipe's key.
struct TunedKey {
  std::string key;
  std::vector<std::string> values;
};

std::vector<std::string> split_at_commas(const std::string& text) {
  std::vector<std::string> parts;
  for (size_t at = 0; at <= text.size();) {
    const size_t next = std::min(text.find(',', at), text.size());
    const size_t first = std::min(text.find_first_not_of(' ', at), next);
    const size_t last = text.find_last_not_of(' ', next == 0 ? 0 : next - 1);
    parts.push_back(first == next ? "" : text.substr(first, last + 1 - first));
    at = next + 1;
  }
  return parts;
}

/// Before names go into recipes, where they are another kind of mistake.
void expect_method(const std::string& name, const Recipe& recipe) {
  const std::vector<std::string> known = method_names();
  const auto usage = [](const std::string& what) {
    return Error(ExitCode::kUsage, "--methods: " + what);
  };
  if (name.empty()) {
    throw usage("expected names separated by commas, found an empty one");
  }
  if (std::find(known.begin(), known.end(), name) == known.end()) {
    throw usage(fmt::format("expected one of {}, got {}", fmt::join(known, ", "), name));
  }
  if (name == "unimodal" && recipe.modalities.size() > 1) {
    throw usage("each modality alone is trained anyway: leave unimodal out");
  }
  if (name == "route" && name != recipe.method->name()) {
    throw usage("route has no defaults: it has to be the method of the recipe");
  }
}

std::vector<Contender> contenders_of(const CompareArguments& arguments, const Recipe& recipe) {
  std::vector<Contender> contenders;
  if (recipe.modalities.size() > 1) {
    for (const std::string& modality : recipe.modality_names()) {
      contenders.push_back(
          {modality + " alone",
           "alone-" + modality,
           {fmt::format("method={{ type = \"unimodal\", modality = \"{}\" }}", modality)}});
    }
  }
  for (const std::string& method : split_at_commas(arguments.methods)) {
    expect_method(method, recipe);
    if (std::any_of(contenders.begin(), contenders.end(),
                    [&](const Contender& one) { return one.label == method; })) {
      throw Error(ExitCode::kUsage,
                  fmt::format("--methods: expected each once, got {} twice", method));
    }
    // The recipe's own table has the keys that its method was given.
    contenders.push_back({method, method, {}});
    if (method == "umt" && method != recipe.method->name() && recipe.modalities.size() > 1) {
      contenders.back().taught = true;
    } else if (method != recipe.method->name()) {
      contenders.back().overrides.push_back(fmt::format("method={{ type = \"{}\" }}", method));
    }
  }
  return contenders;
}

std::vector<TunedKey> read_tuned(const std::vector<std::string>& given) {
  std::vector<TunedKey> tuned;
  for (const std::string& text : given) {
    const size_t equals = text.find('=');
    TunedKey one{text.substr(0, equals), {}};
    if (equals != std::string::npos) {
      one.values = split_at_commas(text.substr(equals + 1));
    }
    if (one.key.empty() || one.values.size() < 2 ||
        std::find(one.values.begin(), one.values.end(), "") != one.values.end()) {
      throw Error(ExitCode::kUsage,
                  fmt::format("--tune {}: expected KEY=a,b,… with two values or more", text));
    }
    if (one.key == "method" || one.key == "method.type" || one.key == "method.modality") {
      throw Error(ExitCode::kUsage,
                  fmt::format("--tune {}: methods are what --methods names", text));
    }
    if (one.key == "seed" || one.key.starts_with("data.")) {
      throw Error(
          ExitCode::kUsage,
          fmt::format("--tune {}: expected a setting of training or of the model; seeds and "
                      "data are what methods are compared on",
                      text));
    }
    const std::set<std::string> distinct(one.values.begin(), one.values.end());
    const bool repeated = std::any_of(tuned.begin(), tuned.end(),
                                      [&](const TunedKey& other) { return other.key == one.key; });
    if (repeated || distinct.size() != one.values.size()) {
      throw Error(ExitCode::kUsage,
                  fmt::format("--tune {}: expected each key and each value once", text));
    }
    tuned.push_back(std::move(one));
  }
  return tuned;
}

/// Every combination of the values, as overrides.
std::vector<std::vector<std::string>> candidates_of(const std::vector<TunedKey>& tuned) {
  std::vector<std::vector<std::string>> candidates{{}};
  for (const TunedKey& one : tuned) {
    std::vector<std::vector<std::string>> longer;
    for (const auto& candidate : candidates) {
      for (const std::string& value : one.values) {
        longer.push_back(candidate);
        longer.back().push_back(fmt::format("{}={}", one.key, value));
      }
    }
    candidates = std::move(longer);
  }
  return candidates;
}

class Comparing {
 public:
  explicit Comparing(const CompareArguments& arguments)
      : arguments_(arguments),
        out_(arguments.out.empty()
                 ? fs::path("runs") / ("compare-" + fs::path(arguments.recipe).stem().string())
                 : fs::path(arguments.out)),
        tuned_(read_tuned(arguments.tuned)),
        shared_(arguments.overrides) {
    const Recipe recipe = read_sized_recipe(arguments.recipe, arguments.overrides);
    if (recipe.cache.empty()) {  // what is decoded once serves every run
      shared_.push_back(fmt::format("data.cache=\"{}\"", fs::absolute(out_ / "decoded").string()));
    }
    contenders_ = contenders_of(arguments, recipe);
    modalities_ = recipe.modality_names();
    for (const std::string& override : arguments.overrides) {
      if (override.starts_with("seed=")) {
        throw Error(ExitCode::kUsage,
                    fmt::format("--set {}: the seeds are 0 to {}, as --seeds says", override,
                                arguments.seeds - 1));
      }
    }
    const auto manifest = recipe.open_manifest(show_generation);  // generates an embedded data set
    data_ = recipe.data_hash(*manifest);
    manifest_ = manifest->path;
    if (std::none_of(manifest->rows.begin(), manifest->rows.end(),
                     [](const ManifestRow& row) { return row.split == Split::kTest; })) {
      throw DataError(
          fmt::format("{}: expected rows of the split test, on which methods are "
                      "compared, found none",
                      manifest->path));
    }
    const int cores = available_cores();
    jobs_ = arguments.jobs > 0 ? arguments.jobs : recipe.settings.device.is_cuda() ? 1 : cores;
    threads_ = std::max(1, cores / jobs_);
  }

  void run() {
    check_recipes();
    check_folder();
    const FileDescriptor held = lock_folder(out_, "is comparing in this folder");
    expect_candidates_of_runs();
    tune();
    QueueResult result;
    for (const auto& stage : stages()) {
      std::vector<QueuedRun> queue;
      for (int seed = 0; seed < arguments_.seeds; ++seed) {
        for (const Contender* contender : stage) {
          enqueue(queue, *contender, fmt::format("seed {}", seed),
                  folder_of(contender->folder, seed), overrides_of_run(*contender, seed), {});
        }
      }
      const auto more = work(queue, stage.size() * static_cast<size_t>(arguments_.seeds));
      result.failures.insert(result.failures.end(), more.failures.begin(), more.failures.end());
      result.not_begun += more.not_begun;
      if (result.not_begun > 0) {
        break;
      }
    }
    report(result);
    expect_all(result);
  }

 private:
  /// Before anything runs, as every run would stumble over it.
  void check_folder() const {
    if (RunDirectory::was_created(out_)) {
      throw Error(ExitCode::kUsage,
                  fmt::format("{}: is the folder of a run; name another --out", out_.string()));
    }
    std::error_code failure;
    const bool ours = std::any_of(
        fs::directory_iterator(out_, failure), fs::directory_iterator(), [](const auto& entry) {
          return entry.path().filename() == "tuning" || RunDirectory::was_created(entry.path());
        });
    for (const char* name : kFiles) {
      if (!ours && fs::exists(out_ / name, failure)) {
        throw Error(ExitCode::kUsage,
                    fmt::format("{}: holds a {} that belongs to no comparison; name another --out",
                                out_.string(), name));
      }
    }
    fs::create_directories(out_, failure);
    if (failure) {
      throw StorageError(
          fmt::format("{}: cannot create the folder: {}", out_.string(), failure.message()));
    }
  }

  using FolderOf = std::function<fs::path(const std::string& contender)>;

  [[nodiscard]] fs::path folder_of(const std::string& contender, int seed) const {
    return out_ / fmt::format("{}-seed{}", contender, seed);
  }

  /// The contenders, those that are taught by runs of others after them.
  [[nodiscard]] std::vector<std::vector<const Contender*>> stages() const {
    std::vector<std::vector<const Contender*>> stages;
    for (const bool taught : {false, true}) {
      std::vector<const Contender*> stage;
      for (const Contender& contender : contenders_) {
        if (contender.taught == taught) {
          stage.push_back(&contender);
        }
      }
      if (!stage.empty()) {
        stages.push_back(std::move(stage));
      }
    }
    return stages;
  }

  /// `run_of` is the run of another contender that teaches this one.
  [[nodiscard]] std::vector<std::string> overrides_of(const Contender& contender, int seed,
                                                      const FolderOf& run_of) const {
    std::vector<std::string> overrides = shared_;
    overrides.push_back(fmt::format("seed={}", seed));
    if (contender.taught) {
      std::vector<std::string> teachers;
      for (const std::string& modality : modalities_) {
        teachers.push_back(fmt::format("\"{}\" = \"{}\"", modality,
                                       fs::absolute(run_of("alone-" + modality)).string()));
      }
      overrides.push_back(fmt::format("method={{ type = \"umt\", teachers = {{ {} }} }}",
                                      fmt::join(teachers, ", ")));
    }
    overrides.insert(overrides.end(), contender.overrides.begin(), contender.overrides.end());
    return overrides;
  }

  [[nodiscard]] std::vector<std::string> overrides_of_run(const Contender& contender,
                                                          int seed) const {
    return overrides_of(contender, seed,
                        [&](const std::string& alone) { return folder_of(alone, seed); });
  }

  /// Before anything runs, every recipe is read, so that a wrong name costs nobody a night.
  void check_recipes() const {
    const auto candidates = candidates_of(tuned_);
    for (const Contender& contender : contenders_) {
      for (const auto& candidate : candidates) {
        auto overrides = overrides_of_run(contender, 0);
        overrides.insert(overrides.end(), candidate.begin(), candidate.end());
        try {
          if (&candidate == &candidates.front()) {  // and whether the fusion takes the encoders
            static_cast<void>(read_sized_recipe(arguments_.recipe, overrides).build_model());
          } else {
            read_recipe(arguments_.recipe, overrides);
          }
        } catch (const RecipeError& problem) {
          throw RecipeError(as_asked_for(problem.what(), contender, candidate));
        }
      }
    }
  }

  /// What is wrong with a recipe, put down to the option of ours that made it so.
  [[nodiscard]] static std::string as_asked_for(const std::string& problem,
                                                const Contender& contender,
                                                const std::vector<std::string>& candidate) {
    const auto rest_after = [&](const std::string& override) {
      const std::string start = "--set " + override;
      const size_t colon =
          problem.starts_with(start) ? problem.find(": ", start.size()) : std::string::npos;
      return colon == std::string::npos ? "" : problem.substr(colon);
    };
    for (const std::string& tried : candidate) {
      if (const std::string rest = rest_after(tried); !rest.empty()) {
        return fmt::format("--tune, {}, {}{}", contender.label, tried, rest);
      }
    }
    for (const std::string& override : contender.overrides) {
      if (const std::string rest = rest_after(override); !rest.empty()) {
        return fmt::format("--methods {}{}", contender.label, rest);
      }
    }
    return problem;
  }

  /// Adds the run unless it is finished.
  void enqueue(std::vector<QueuedRun>& queue, const Contender& contender, const std::string& which,
               const fs::path& folder, const std::vector<std::string>& overrides,
               const std::vector<std::string>& more) const {
    if (RunDirectory::holds_run(folder)) {
      expect_settings_of(folder, overrides);
      expect_data_of(folder);
      if (RunDirectory::open(folder).is_finished()) {
        return;
      }
    }
    QueuedRun run{fmt::format("{}, {}", contender.label, which),
                  contender.label,
                  {"train", arguments_.recipe, "--out", folder.string(), "--resume"}};
    for (const std::string& override : overrides) {
      run.arguments.insert(run.arguments.end(), {"--set", override});
    }
    run.arguments.insert(run.arguments.end(), more.begin(), more.end());
    queue.push_back(std::move(run));
  }

  [[nodiscard]] std::string difference_of_settings(
      const fs::path& run, const std::vector<std::string>& overrides) const {
    // Where data and teachers are is of no matter to a run that is finished: both may have moved.
    const bool finished = RunDirectory::open(run).is_finished();
    return difference_from_run(read_sized_recipe(arguments_.recipe, overrides), run, finished);
  }

  void expect_settings_of(const fs::path& run, const std::vector<std::string>& overrides) const {
    const std::string difference = difference_of_settings(run, overrides);
    if (!difference.empty()) {
      throw other_settings(run, difference);
    }
  }

  static RecipeError other_settings(const fs::path& run, const std::string& difference) {
    return RecipeError(
        fmt::format("{}: was compared with other settings ({}); a comparison continues with its "
                    "own, or name another --out",
                    run.string(), difference));
  }

  /// Before others are trained for nothing.
  void expect_data_of(const fs::path& folder) const {
    const RunDirectory run = RunDirectory::open(folder);
    DataHash data;
    if (run.is_finished()) {
      data = read_result(folder, "").data;
    } else if (run.has("last")) {
      data = run.state("last").data;
      std::erase_if(data.files, [](const auto& part) {  // which it has not seen yet
        return part.first.ends_with("/test");
      });
    }
    const std::string what = data.manifest.empty() ? "" : difference_of_data(data, data_);
    if (!what.empty()) {
      throw DataError(
          fmt::format("{}: was trained on other data than {} is now, the {} differ; name another "
                      "--out",
                      folder.string(), manifest_, what));
    }
  }

  [[nodiscard]] QueueResult work(const std::vector<QueuedRun>& queue, size_t all) const {
    if (queue.size() < all) {
      std::cerr << fmt::format("{} of {} runs are finished already", all - queue.size(), all)
                << std::endl;
    }
    return do_runs(queue, jobs_, threads_);
  }

  /// Gives each contender the candidate that is best on val with the first seed: as many trials for
  /// each. Test is not looked at.
  void tune() {
    if (tuned_.empty()) {
      return;
    }
    const auto candidates = candidates_of(tuned_);
    std::map<std::string, std::string> lines;  // of the table, by contender
    for (const auto& stage : stages()) {
      std::vector<QueuedRun> queue;
      for (const Contender* contender : stage) {
        for (const auto& candidate : candidates) {
          auto overrides = overrides_of(*contender, 0, [&](const std::string& alone) {
            return trial_of(alone, chosen_.at(alone));
          });
          overrides.insert(overrides.end(), candidate.begin(), candidate.end());
          enqueue(queue, *contender, fmt::format("{}", fmt::join(candidate, ", ")),
                  trial_of(contender->folder, candidate), overrides, {"--no-test"});
        }
      }
      const QueueResult result = work(queue, stage.size() * candidates.size());
      if (std::any_of(result.failures.begin(), result.failures.end(), [](const FailedRun& failed) {
            return failed.code != static_cast<int>(ExitCode::kDiverged);  // only loses the contest
          })) {
        expect_all(result);
      }
      for (const Contender* contender : stage) {
        lines[contender->label] = choose(*contender, candidates);
      }
    }
    std::string table;
    for (Contender& contender : contenders_) {
      table += lines.at(contender.label);
      const auto& chosen = chosen_.at(contender.folder);
      contender.overrides.insert(contender.overrides.end(), chosen.begin(), chosen.end());
    }
    expect_settings_of_runs();  // before what they were tuned by is replaced
    std::cout << "Tuned on val, seed 0\n" << table << std::endl;
    write_file_durably(out_ / "tuning.txt", table);
  }

  /// Before anything is tuned: runs that are there have one of the candidates, or tuning would be
  /// for nothing.
  void expect_candidates_of_runs() const {
    if (tuned_.empty()) {
      return;
    }
    const auto candidates = candidates_of(tuned_);
    for (const Contender& contender : contenders_) {
      for (int seed = 0; seed < arguments_.seeds; ++seed) {
        const fs::path folder = folder_of(contender.folder, seed);
        if (!RunDirectory::holds_run(folder)) {
          continue;
        }
        std::string difference;
        const bool any =
            std::any_of(candidates.begin(), candidates.end(), [&](const auto& candidate) {
              auto overrides = overrides_of_run(contender, seed);
              overrides.insert(overrides.end(), candidate.begin(), candidate.end());
              difference = difference_of_settings(folder, overrides);
              return difference.empty();
            });
        if (!any) {
          throw other_settings(folder, difference);
        }
      }
    }
  }

  void expect_settings_of_runs() const {
    for (int seed = 0; seed < arguments_.seeds; ++seed) {
      for (const Contender& contender : contenders_) {
        const fs::path folder = folder_of(contender.folder, seed);
        if (RunDirectory::holds_run(folder)) {
          expect_settings_of(folder, overrides_of_run(contender, seed));
        }
      }
    }
  }

  [[nodiscard]] fs::path trial_of(const std::string& contender,
                                  const std::vector<std::string>& candidate) const {
    std::string name = fmt::format("{}-{}", contender, fmt::join(candidate, "-"));
    std::replace(name.begin(), name.end(), '/', '_');
    return out_ / "tuning" / name;
  }

  /// Notes which of its trials is best on val; returns a line that says so.
  std::string choose(const Contender& contender,
                     const std::vector<std::vector<std::string>>& candidates) {
    const std::vector<std::string>* best = nullptr;
    double best_value = 0;
    std::string line = fmt::format("{}:", contender.label);
    for (const auto& candidate : candidates) {
      const fs::path folder = trial_of(contender.folder, candidate);
      if (!RunDirectory::open(folder).has_summary()) {
        line += fmt::format("  {} diverged", fmt::join(candidate, ", "));
        continue;
      }
      const RunResult result = read_result(folder, contender.label);
      const double value = result.smaller_is_better ? -result.best_val : result.best_val;
      line += fmt::format("  {} {:.4f}", fmt::join(candidate, ", "), result.best_val);
      if (best == nullptr || value > best_value) {
        best = &candidate;
        best_value = value;
      }
    }
    if (best == nullptr) {
      throw Error(ExitCode::kDiverged,
                  fmt::format("{}: diverged with every value tried", contender.label));
    }
    chosen_[contender.folder] = *best;
    return fmt::format("{}  -> {}\n", line, fmt::join(*best, ", "));
  }

  /// Adds runs that were not tested to the failures of `outcome`.
  void report(QueueResult& outcome) const {
    std::vector<RunResult> results;
    for (const Contender& contender : contenders_) {
      for (int seed = 0; seed < arguments_.seeds; ++seed) {
        const fs::path folder = folder_of(contender.folder, seed);
        if (!fs::exists(folder / "summary.json")) {
          continue;
        }
        const RunDirectory run = RunDirectory::open(folder);
        if (run.is_finished()) {
          results.push_back(read_result(folder, contender.label));
        } else {
          note_untested(outcome, fmt::format("{}, seed {}", contender.label, seed), run);
        }
      }
    }
    if (results.empty()) {
      return;
    }
    std::map<std::string, std::string> alone;
    for (const std::string& modality : modalities_) {
      alone[modality] = modality + " alone";
    }
    const Comparison comparison = compared(results, alone);
    const std::string text = to_text(comparison);
    const std::string same = of_methods_like_reference(comparison);
    write_file_durably(out_ / "comparison.txt", text);
    write_file_durably(out_ / "comparison.csv", to_csv(comparison));
    write_file_durably(out_ / "comparison.md", to_markdown(comparison));
    write_file_durably(out_ / "comparison.tex", to_latex(comparison));
    write_file_durably(out_ / "runs.csv", runs_to_csv(results));
    std::cout
        << text
        << "On test, by the epoch that was best on val; ± is half of the 95 % interval over "
           "the seeds.\nA gap is a modality trained alone minus inside the model: of an error, "
           "below 0 where it does better alone.\n"
        << (comparison.skipping == 0
                ? ""
                : fmt::format("{} of the runs left out samples that cannot be read (quarantine.csv "
                              "in their folders): what they are scored on may differ.\n",
                              comparison.skipping))
        << (same.empty() ? "" : same + "\n") << "Tables and runs are in " << out_.string() << "\n";
  }

  /// What was trained while the data changed is not put side by side.
  static Comparison compared(const std::vector<RunResult>& results,
                             const std::map<std::string, std::string>& alone) {
    try {
      return compare(results, alone);
    } catch (const DataError& problem) {
      throw DataError(
          fmt::format("{}; remove the folders of the runs on data that is no more, and "
                      "the same command trains them again",
                      problem.what()));
    }
  }

  static void note_untested(QueueResult& outcome, const std::string& title,
                            const RunDirectory& run) {
    const bool known = std::any_of(outcome.failures.begin(), outcome.failures.end(),
                                   [&](const FailedRun& failed) { return failed.title == title; });
    if (!known) {
      outcome.failures.push_back({title, static_cast<int>(ExitCode::kData),
                                  "not tested: " + run.summary().value("no_test", "")});
    }
  }

  static void expect_all(const QueueResult& result) {
    if (!result.failures.empty()) {
      const FailedRun& first = result.failures.front();
      constexpr int kLargestOfOurs = static_cast<int>(ExitCode::kDiverged);
      const size_t failed = result.failures.size();
      throw Error(
          first.code <= kLargestOfOurs ? static_cast<ExitCode>(first.code) : ExitCode::kInternal,
          fmt::format(
              "{}: {} ({}{}; the same command tries again, once the cause is mended)", first.title,
              first.reason, failed == 1 ? "this run failed" : fmt::format("{} runs failed", failed),
              result.not_begun == 0 ? "" : fmt::format(", {} were not begun", result.not_begun)));
    }
  }

  const CompareArguments& arguments_;
  fs::path out_;
  std::vector<TunedKey> tuned_;
  std::vector<std::string> shared_;  // overrides of every run
  std::vector<Contender> contenders_;
  std::map<std::string, std::vector<std::string>> chosen_;  // by contender's folder, once tuned
  std::vector<std::string> modalities_;
  DataHash data_;         // as it is now
  std::string manifest_;  // its path
  int jobs_ = 1;
  int threads_ = 1;
};

}  // namespace

void add_compare(CLI::App& app) {
  auto arguments = std::make_shared<CompareArguments>();
  CLI::App* command = app.add_subcommand(
      "compare",
      "Train several methods under the same settings over several seeds, and each "
      "modality alone");
  command->add_option("RECIPE", arguments->recipe, "TOML file")->required();
  command
      ->add_option(
          "--methods", arguments->methods,
          "Names, separated by commas; the recipe's own method keeps its keys, others have "
          "their defaults")
      ->capture_default_str();
  command->add_option("--seeds", arguments->seeds, "Runs of each, seeds from 0")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_option("--tune", arguments->tuned,
                      "KEY=a,b,…: choose the value of this key on val, for each method; may be "
                      "repeated");
  add_set(*command, arguments->overrides);
  add_out(*command, arguments->out, "Folder of the runs and tables; default runs/compare-<recipe>");
  command
      ->add_option("--jobs", arguments->jobs,
                   "Runs at a time; default one for each core, with a GPU one")
      ->check(CLI::Range(1, 1024));
  command->callback([arguments] { Comparing(*arguments).run(); });
}

}  // namespace unbraid
