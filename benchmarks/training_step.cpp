// One DGL training step, three ways, on the same weights and data: N, the naive schedule as the
// reference code runs it; T, the same with what a careful user would tune; U, ours. Each is
// measured in processes of its own, in turns, because the allocator's settings and the peak memory
// belong to a process.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "benchmarks/naive_models.h"
#include "unbraid/core/autocast.h"
#include "unbraid/core/process.h"
#include "unbraid/models/encoders/resnet.h"
#include "unbraid/models/fusions/concat.h"
#include "unbraid/models/fusions/film.h"
#include "unbraid/models/initialisation.h"
#include "unbraid/routing/routed_backward.h"
#include "unbraid/training/optimizer.h"
#include "unbraid/training/weights.h"

namespace unbraid::bench {
namespace {

constexpr int64_t kClasses = 6;
constexpr double kAlpha = 4.0;
constexpr double kClipNorm = 40.0;
constexpr double kLearningRate = 2e-3;
constexpr double kMomentum = 0.9;
constexpr double kWeightDecay = 1e-4;

struct Setting {
  std::string fusion;
  int64_t batch = 0;
  std::string precision;
};

struct Data {
  torch::Tensor audio;
  torch::Tensor visual;
  torch::Tensor label;
};

Data make_data(int64_t batch, bool channels_last) {
  torch::manual_seed(1);
  Data data{torch::randn({batch, 1, 257, 188}), torch::randn({batch, 3, 224, 224}),
            torch::randint(0, kClasses, {batch})};
  if (channels_last) {
    data.audio = data.audio.contiguous(torch::MemoryFormat::ChannelsLast);
    data.visual = data.visual.contiguous(torch::MemoryFormat::ChannelsLast);
  }
  return data;
}

/// Multiply-adds of one ResNet-18 forward pass times six: forward, and backward to data and weights
/// (not to the input), two operations each.
double resnet_operations(int64_t channels, int64_t height, int64_t width) {
  const auto halved = [](int64_t size) { return (size + 1) / 2; };
  double total = 0;
  const auto add = [&](int64_t in, int64_t out, int64_t kernel, int64_t h, int64_t w, int passes) {
    total += 2.0 * passes * static_cast<double>(in * out * kernel * kernel * h * w);
  };
  height = halved(height);
  width = halved(width);
  add(channels, 64, 7, height, width, 2);
  height = halved(height);
  width = halved(width);
  int64_t inputs = 64;
  for (int stage = 0; stage < 4; ++stage) {
    const int64_t outputs = int64_t{64} << stage;
    if (stage > 0) {
      height = halved(height);
      width = halved(width);
      add(inputs, outputs, 1, height, width, 3);
    }
    add(inputs, outputs, 3, height, width, 3);
    for (int i = 0; i < 3; ++i) {
      add(outputs, outputs, 3, height, width, 3);
    }
    inputs = outputs;
  }
  return total;
}

/// A step that returns the multimodal loss.
using Step = std::function<double()>;

Step naive_step(const Setting& setting, bool tuned) {
  auto model = std::make_shared<NaiveModel>(setting.fusion, kClasses);
  initialise(*model->root, 0);
  if (tuned) {
    prefer_channels_last(*model->root);
  }
  const Data data = make_data(setting.batch, tuned);
  auto optimizer = std::make_shared<torch::optim::SGD>(
      model->root->parameters(),
      torch::optim::SGDOptions(kLearningRate).momentum(kMomentum).weight_decay(kWeightDecay));
  const bool bf16 = tuned && setting.precision == "bf16";
  return [=] {
    optimizer->zero_grad();
    torch::Tensor unimodal_loss;
    torch::Tensor multimodal_loss;
    {
      const AutocastGuard precision(torch::kCPU, bf16);
      const torch::Tensor audio = model->audio->forward(data.audio);
      const torch::Tensor visual = model->visual->forward(data.visual);
      unimodal_loss = kAlpha * (torch::cross_entropy_loss(
                                    model->fusion->alone(0, audio).to(torch::kFloat), data.label) +
                                torch::cross_entropy_loss(
                                    model->fusion->alone(1, visual).to(torch::kFloat), data.label));
      multimodal_loss = torch::cross_entropy_loss(
          model->fusion->fused(audio.detach(), visual.detach()).to(torch::kFloat), data.label);
    }
    unimodal_loss.backward({}, true);
    for (torch::Tensor& parameter : model->fusion->parameters()) {
      parameter.mutable_grad() = torch::Tensor();
    }
    multimodal_loss.backward();
    torch::nn::utils::clip_grad_norm_(model->root->parameters(), kClipNorm);
    optimizer->step();
    return multimodal_loss.item<double>();
  };
}

Step routed_step(const Setting& setting) {
  MultimodalModel model;
  model->add_encoder("audio", std::make_shared<ResNet>(ResNetOptions{.in_channels = 1}));
  model->add_encoder("visual", std::make_shared<ResNet>(ResNetOptions{.in_channels = 3}));
  const FusionShape shape{{"audio", "visual"}, {512, 512}, kClasses};
  if (setting.fusion == "film") {
    model->set_fusion(std::make_shared<FilmFusion>(shape));
  } else {
    model->set_fusion(std::make_shared<ConcatFusion>(shape));
  }
  initialise(*model, 0);
  prefer_channels_last(*model);
  const Data data = make_data(setting.batch, false);
  auto optimizer = std::make_shared<Optimizer>(
      OptimizerOptions{.type = "sgd", .weight_decay = kWeightDecay, .momentum = kMomentum},
      model->named_parameters());
  const bool bf16 = setting.precision == "bf16";
  return [=]() mutable {
    RoutedResult result;
    {
      const AutocastGuard precision(torch::kCPU, bf16);
      result = routed_backward(
          *model, {data.audio, data.visual},
          [&](const torch::Tensor& output) {
            return torch::cross_entropy_loss(output.to(torch::kFloat), data.label);
          },
          GradientRoute::dgl(kAlpha));
    }
    const double norm = gradient_norms(*model).at("");
    optimizer->step(kLearningRate, clip_factor(norm, kClipNorm));
    optimizer->zero_grad();
    return result.loss.item<double>();
  };
}

double seconds_of(const std::function<void()>& action) {
  const auto start = std::chrono::steady_clock::now();
  action();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

/// Best rate of a large matrix product, in 10^9 operations a second.
double matrix_rate(torch::ScalarType type) {
  constexpr int64_t kSize = 2048;
  const torch::NoGradGuard no_grad;
  const torch::Tensor left = torch::randn({kSize, kSize}).to(type);
  const torch::Tensor right = torch::randn({kSize, kSize}).to(type);
  double best = 0;
  for (int i = 0; i < 6; ++i) {
    const double seconds = seconds_of([&] { torch::mm(left, right); });
    best = std::max(best, 2.0 * kSize * kSize * kSize / seconds / 1e9);
  }
  return best;
}

/// What one process measured.
struct Measurement {
  double seconds = 0;
  double megabytes = 0;
  double loss = 0;
};

int work(char variant, const Setting& setting, int steps) {
  if (variant != 'N') {
    tune_process();
  }
  at::set_num_threads(default_threads());
  const Step step = variant == 'U' ? routed_step(setting) : naive_step(setting, variant == 'T');
  const double loss = step();  // warm-up; equal weights give equal losses
  std::vector<double> seconds;
  seconds.reserve(static_cast<size_t>(steps));
  for (int i = 0; i < steps; ++i) {
    seconds.push_back(seconds_of([&] { step(); }));
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  std::cout << nlohmann::json{{"seconds", median(seconds)},
                              {"megabytes", static_cast<double>(usage.ru_maxrss) / 1024.0},
                              {"loss", loss}}
            << std::endl;
  return 0;
}

Measurement measure(char variant, const Setting& setting, int steps) {
  const std::string allocator = variant == 'U' ? UNBRAID_ALLOCATOR : "";
  const std::string command = fmt::format(
      "{}exec /proc/{}/exe --worker {} --fusions {} --batches {} --precisions {} --steps {}",
      allocator.empty() ? "" : "LD_PRELOAD='" + allocator + "' ", getpid(), variant, setting.fusion,
      setting.batch, setting.precision, steps);
  FILE* const pipe = popen(command.c_str(), "r");  // NOLINT(cert-env33-c): our own program
  if (pipe == nullptr) {
    throw std::runtime_error("cannot start " + command);
  }
  std::string text;
  std::array<char, 256> buffer{};
  while (fgets(buffer.data(), static_cast<int>(buffer.size()), pipe) != nullptr) {
    text += buffer.data();
  }
  if (pclose(pipe) != 0) {
    throw std::runtime_error("failed: " + command);
  }
  const auto result = nlohmann::json::parse(text);
  return {result.at("seconds"), result.at("megabytes"), result.at("loss")};
}

void compare(const Setting& setting, int rounds, int steps, double rate) {
  constexpr std::array kVariants{'N', 'T', 'U'};
  std::map<char, std::vector<Measurement>> results;
  for (int round = 0; round < rounds; ++round) {
    for (const char variant : kVariants) {
      results[variant].push_back(measure(variant, setting, steps));
    }
  }
  const auto ratio = [&](char over, char under, auto field) {
    std::vector<double> ratios;
    for (int round = 0; round < rounds; ++round) {
      const auto i = static_cast<size_t>(round);
      ratios.push_back(results[over][i].*field / results[under][i].*field);
    }
    return median(ratios);
  };
  const auto middle = [&](char variant, auto field) {
    std::vector<double> values;
    for (const Measurement& one : results[variant]) {
      values.push_back(one.*field);
    }
    return median(values);
  };
  const double operations = static_cast<double>(setting.batch) *
                            (resnet_operations(1, 257, 188) + resnet_operations(3, 224, 224));
  std::cout
      << fmt::format(
             "{:<7} {:<5} {:>5}  {:>7.2f} {:>7.2f} {:>7.2f}  {:>6.2f} {:>6.2f}  {:>7.0f} {:>7.0f} "
             "{:>7.0f}  {:>6.2f} {:>6.2f}  {:>7.0f} {:>6.0f}%\n",
             setting.fusion, setting.precision, setting.batch, middle('N', &Measurement::seconds),
             middle('T', &Measurement::seconds), middle('U', &Measurement::seconds),
             ratio('N', 'U', &Measurement::seconds), ratio('T', 'U', &Measurement::seconds),
             middle('N', &Measurement::megabytes), middle('T', &Measurement::megabytes),
             middle('U', &Measurement::megabytes), ratio('U', 'N', &Measurement::megabytes),
             ratio('U', 'T', &Measurement::megabytes),
             operations / middle('U', &Measurement::seconds) / 1e9,
             100 * operations / middle('U', &Measurement::seconds) / 1e9 / rate)
      << std::flush;
  const double tolerance = setting.precision == "bf16" ? 0.1 : 1e-3;
  for (const char variant : {'T', 'U'}) {
    const double expected = results['N'][0].loss;
    if (!(std::abs(results[variant][0].loss - expected) <= tolerance * std::max(1.0, expected))) {
      throw std::runtime_error(fmt::format("{} computed another loss ({}) than N ({})", variant,
                                           results[variant][0].loss, expected));
    }
  }
}

int run(int argc, char** argv) {
  CLI::App app("One DGL training step with two ResNet-18: naive (N), tuned (T), ours (U)");
  std::vector<std::string> fusions{"concat", "film"};
  std::vector<int64_t> batches{16, 64};
  std::vector<std::string> precisions{"fp32", "bf16"};
  int rounds = 3;
  int steps = 2;
  std::string worker;
  app.add_option("--fusions", fusions, "concat, film")
      ->check(CLI::IsMember({"concat", "film"}))
      ->delimiter(',');
  app.add_option("--batches", batches, "Batch sizes")->check(CLI::Range(1, 1024))->delimiter(',');
  app.add_option("--precisions", precisions, "fp32, bf16; N stays fp32")
      ->check(CLI::IsMember({"fp32", "bf16"}))
      ->delimiter(',');
  app.add_option("--rounds", rounds, "How often the three take turns")->check(CLI::Range(1, 100));
  app.add_option("--steps", steps, "Timed steps of each turn")->check(CLI::Range(1, 100));
  app.add_option("--worker", worker)->group("")->check(CLI::IsMember({"N", "T", "U"}));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& problem) {
    return app.exit(problem) == 0 ? 0 : 2;
  }
  if (!worker.empty()) {
    return work(worker.front(), {fusions.front(), batches.front(), precisions.front()}, steps);
  }
  at::set_num_threads(default_threads());
  const std::map<std::string, double> rates{{"fp32", matrix_rate(torch::kFloat)},
                                            {"bf16", matrix_rate(torch::kBFloat16)}};
  std::cout << fmt::format(
      "{} threads; 2048 x 2048 matrix product: {:.0f} GFLOP/s fp32, {:.0f} bf16\n"
      "N naive (fp32, contiguous, glibc's allocator), T tuned (raised thresholds of glibc's), U "
      "unbraid ({}); seconds a step, MB at peak\n\n"
      "{:<7} {:<5} {:>5}  {:>7} {:>7} {:>7}  {:>6} {:>6}  {:>7} {:>7} {:>7}  {:>6} {:>6}  {:>7} "
      "{:>7}\n",
      at::get_num_threads(), rates.at("fp32"), rates.at("bf16"),
      *UNBRAID_ALLOCATOR == '\0' ? "raised thresholds too" : "tcmalloc", "fusion", "prec.", "batch",
      "N s", "T s", "U s", "N/U", "T/U", "N MB", "T MB", "U MB", "U/N MB", "U/T MB", "GFLOP/s",
      "of mm");
  for (const std::string& precision : precisions) {
    for (const std::string& fusion : fusions) {
      for (const int64_t batch : batches) {
        compare({fusion, batch, precision}, rounds, steps, rates.at(precision));
      }
    }
  }
  return 0;
}

}  // namespace
}  // namespace unbraid::bench

int main(int argc, char** argv) {
  try {
    bool worker = false;
    for (int i = 1; i < argc; ++i) {
      worker = worker || std::string(argv[i]) == "--worker";
    }
    if (!worker) {
      // The BLAS kernels are the same for every variant.
      unbraid::tune_process();
      if (const std::string core = unbraid::openblas_core(); !core.empty()) {
        ::setenv("OPENBLAS_CORETYPE", core.c_str(), 0);
      }
    }
    return unbraid::bench::run(argc, argv);
  } catch (const c10::Error& problem) {
    std::cerr << "unbraid_bench: " << problem.what_without_backtrace() << "\n";
    return 1;
  } catch (const std::exception& problem) {
    std::cerr << "unbraid_bench: " << problem.what() << "\n";
    return 1;
  }
}
