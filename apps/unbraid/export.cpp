#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>
#include <sstream>

#include <caffe2/serialize/inline_container.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "apps/unbraid/commands.h"
#include "unbraid/core/durable_file.h"
#include "unbraid/models/torchscript_export.h"
#include "unbraid/tasks/regression.h"
#include "unbraid/training/recipe.h"
#include "unbraid/training/run_directory.h"
#include "unbraid/training/toml.h"
#include "unbraid/training/weights.h"

namespace unbraid {
namespace {

struct ExportArguments {
  std::string run;
  std::string out;
  std::string format;
  std::string encoder;
};

/// "weights" or "torchscript".
std::string format_of(const ExportArguments& arguments) {
  if (!arguments.format.empty()) {
    return arguments.format;
  }
  const std::string extension = std::filesystem::path(arguments.out).extension().string();
  if (extension != ".safetensors" && extension != ".pt") {
    throw Error(ExitCode::kUsage,
                fmt::format("{}: expected a name that ends in .safetensors (weights) or .pt "
                            "(TorchScript), or --format",
                            arguments.out));
  }
  return extension == ".pt" ? "torchscript" : "weights";
}

/// Whether a file is of the kind that is written, judged without running anything of it.
bool is_export(const std::string& path, bool torchscript) {
  try {
    if (torchscript) {
      return caffe2::serialize::PyTorchStreamReader(path).hasRecord("constants.pkl");
    }
    read_safetensors(path);
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

void refuse_to_replace_others(const std::string& path, bool torchscript) {
  std::error_code ignored;
  if (std::filesystem::exists(std::filesystem::path(path).parent_path() / "MANIFEST", ignored)) {
    throw Error(ExitCode::kUsage,
                fmt::format("{}: expected a place outside of a run's checkpoints", path));
  }
  if (std::filesystem::is_regular_file(path, ignored) && !is_export(path, torchscript)) {
    throw Error(ExitCode::kUsage,
                fmt::format("{}: is there already and is not a {} file; remove it or name another "
                            "file",
                            path, torchscript ? "TorchScript" : "safetensors"));
  }
}

std::string as_torchscript(MultimodalModelImpl& model, const std::vector<size_t>& encoders,
                           bool whole) {
  std::ostringstream file;
  if (whole) {
    to_torchscript(model).save(file);
  } else {
    to_torchscript(dynamic_cast<const Encoder&>(model.encoder(encoders.front()))).save(file);
  }
  return file.str();
}

/// How the model's outputs become what labels have; "" where they are that.
std::string units_of(const Task& task) {
  const auto* regression = dynamic_cast<const Regression*>(&task);
  if (regression == nullptr ||
      (regression->options().mean.empty() && regression->options().deviation.empty())) {
    return "";
  }
  return fmt::format("outputs are normalised: times [{}] plus [{}] they are in the labels' units\n",
                     fmt::join(regression->options().deviation, ", "),
                     fmt::join(regression->options().mean, ", "));
}

void run(const ExportArguments& arguments) {
  const bool torchscript = format_of(arguments) == "torchscript";
  const RunDirectory directory = RunDirectory::open(arguments.run);
  const Recipe recipe =
      parse_recipe(directory.recipe(), (directory.path() / "recipe.toml").string());
  const auto names = recipe.modality_names();
  std::vector<size_t> encoders;
  for (size_t m = 0; m < names.size(); ++m) {
    if (arguments.encoder.empty() || arguments.encoder == names[m]) {
      encoders.push_back(m);
    }
  }
  if (encoders.empty()) {
    throw Error(ExitCode::kUsage,
                fmt::format("--encoder {}: expected one of the run's modalities ({})",
                            arguments.encoder, fmt::join(names, ", ")));
  }
  refuse_to_replace_others(arguments.out, torchscript);
  MultimodalModel model = recipe.build_model();
  const RunState state = directory.load("best", *model, nullptr);
  const bool whole = arguments.encoder.empty();
  const torch::nn::Module& part = whole ? *model : model->encoder(encoders.front());
  const NamedTensors weights = weights_of(part);
  if (torchscript) {
    write_file_durably(arguments.out, as_torchscript(*model, encoders, whole));
  } else {
    write_safetensors(arguments.out, weights, {{"format", "pt"}});
  }
  int64_t values = 0;
  for (const auto& [name, tensor] : weights) {
    values += tensor.numel();
  }
  std::cout << fmt::format(
      "{}: {}{}, {} tensors of {} values, epoch {}\n", arguments.out,
      whole ? "the model" : fmt::format("the encoder of {}", arguments.encoder),
      torchscript ? " as TorchScript" : " as weights", weights.size(), values, state.epoch);
  if (torchscript && whole) {
    std::vector<std::string> inputs;
    std::transform(names.begin(), names.end(), std::back_inserter(inputs), argument_name);
    std::cout << fmt::format("forward({})\n{}", fmt::join(inputs, ", "), units_of(*recipe.task));
  }
}

}  // namespace

void add_export(CLI::App& app) {
  auto arguments = std::make_shared<ExportArguments>();
  CLI::App* command =
      app.add_subcommand("export", "Write the best checkpoint of a run for use elsewhere");
  command->add_option("RUN", arguments->run, "Folder of a run")->required()->check(not_empty);
  command->add_option("-o,--out", arguments->out, "The file to write")
      ->required()
      ->check(not_empty);
  command
      ->add_option("--format", arguments->format,
                   "weights (safetensors) or torchscript (the whole model, runs in PyTorch); "
                   "without it by the file's ending, .safetensors or .pt")
      ->check(CLI::IsMember({"weights", "torchscript"}));
  command
      ->add_option("--encoder", arguments->encoder,
                   "Only the encoder of this modality, its tensors without encoders.<modality>.")
      ->check(not_empty);
  command->callback([arguments] { run(*arguments); });
}

}  // namespace unbraid
