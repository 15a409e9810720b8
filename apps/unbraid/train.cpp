#include <filesystem>
#include <iostream>
#include <memory>

#include <fmt/format.h>

#include "apps/unbraid/commands.h"
#include "apps/unbraid/run_recipe.h"

namespace unbraid {
namespace {

struct TrainArguments {
  std::string recipe;
  std::vector<std::string> overrides;
  std::string out;
  bool resume = false;
};

void run(const TrainArguments& arguments) {
  const Recipe recipe = read_recipe(arguments.recipe, arguments.overrides);
  const std::filesystem::path out =
      arguments.out.empty()
          ? std::filesystem::path("runs") /
                fmt::format("{}-{}-seed{}", std::filesystem::path(arguments.recipe).stem().string(),
                            recipe.method->name(), recipe.settings.seed)
          : std::filesystem::path(arguments.out);
  const bool resume = arguments.resume && RunDirectory::holds_run(out);
  if (!resume) {
    RunDirectory::check_free(out);
  } else if (RunDirectory::open(out).recipe() != recipe.resolved) {
    throw RecipeError(
        fmt::format("{}: differs from the recipe that {} was started with; resume with "
                    "{}/recipe.toml, or name another --out",
                    arguments.recipe, out.string(), out.string()));
  }
  const TrainingParts parts = open_parts(recipe);
  RunDirectory directory =
      resume ? RunDirectory::open(out) : RunDirectory::create(out, recipe.resolved);
  const TrainingResult result = run_recipe(recipe, parts, directory, resume, recipe.method->name());
  std::cout << fmt::format("best epoch {} (chosen on val) after {:.1f} s, in {}\n",
                           result.best_epoch, result.seconds, out.string());
  if (result.test.samples > 0) {
    std::cout << fmt::format("test, {} samples\n{}", result.test.samples,
                             format_evaluation(result.test, recipe));
  }
}

}  // namespace

void add_train(CLI::App& app) {
  auto arguments = std::make_shared<TrainArguments>();
  CLI::App* command = app.add_subcommand("train", "Train what a recipe describes");
  command->add_option("RECIPE", arguments->recipe, "TOML file")->required();
  command
      ->add_option("--set", arguments->overrides,
                   "Change a key of the recipe: dotted.key=value; may be repeated")
      ->take_all()
      ->expected(1);
  command->add_option("--out", arguments->out,
                      "Folder of the run; default runs/<recipe>-<method>-seed<seed>");
  command->add_flag("--resume", arguments->resume,
                    "Continue from the last finished epoch, or start when there is none");
  command->callback([arguments] { run(*arguments); });
}

}  // namespace unbraid
