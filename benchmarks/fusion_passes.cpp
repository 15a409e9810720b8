// The fusion module's share of a DGL step: M unimodal passes for the features' gradients and a
// fused one for the parameters'. F, the fused pass alone; N, all M + 1 with every gradient
// computed, as the reference code does; U, ours; B, the M unimodal passes as one over stacked
// samples, then the fused one. Encoders cost nothing here: they are parameters.
#include <time.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "unbraid/core/process.h"
#include "unbraid/models/fusions/central.h"
#include "unbraid/models/fusions/concat.h"
#include "unbraid/models/fusions/decoder.h"
#include "unbraid/models/fusions/low_rank.h"
#include "unbraid/models/fusions/mmtm.h"
#include "unbraid/models/fusions/transformer.h"
#include "unbraid/models/initialisation.h"
#include "unbraid/routing/routed_backward.h"

namespace unbraid::bench {
namespace {

constexpr int64_t kClasses = 6;
constexpr double kAlpha = 4.0;

/// The feature of a batch is a parameter.
class FeatureImpl : public torch::nn::Module {
 public:
  explicit FeatureImpl(const std::vector<int64_t>& sizes)
      : feature_(register_parameter("feature", torch::randn(sizes))) {}
  torch::Tensor forward(const torch::Tensor& /*input*/) { return feature_.view_as(feature_); }

 private:
  torch::Tensor feature_;
};
TORCH_MODULE(Feature);

struct Case {
  std::string name;
  size_t modalities;
  int64_t batch;
  std::vector<int64_t> feature;  // of a sample
  std::function<std::shared_ptr<Fusion>(const FusionShape&)> make;
  bool stackable = true;  // no statistics over a batch
};

std::vector<Case> cases() {
  const auto concat = [](const FusionShape& s) { return std::make_shared<ConcatFusion>(s); };
  const auto low_rank = [](const FusionShape& s) { return std::make_shared<LowRankFusion>(s, 4); };
  const auto central = [](const FusionShape& s) {
    return std::make_shared<CentralFusion>(s, CentralFusionOptions{});
  };
  const auto transformer = [](const FusionShape& s) {
    return std::make_shared<TransformerFusion>(s, TransformerFusionOptions{.depth = 4});
  };
  const auto mmtm = [](const FusionShape& s) { return std::make_shared<MmtmFusion>(s); };
  const auto decoder = [](const FusionShape& s) {
    FusionShape maps = s;
    maps.map = {64, 64};
    return std::make_shared<DecoderFusion>(maps, std::vector<int64_t>{64, 32, 16, 16});
  };
  return {
      {"concat", 2, 64, {512}, concat},
      {"concat", 3, 64, {512}, concat},
      {"low-rank", 3, 64, {512}, low_rank},
      {"central", 3, 64, {512}, central},
      {"transformer, 1 token", 3, 16, {128}, transformer},
      {"transformer, 1 token", 3, 64, {128}, transformer},
      {"transformer, 16 tokens", 3, 16, {16, 128}, transformer},
      {"transformer, 16 tokens", 3, 64, {16, 128}, transformer},
      {"transformer, 50 tokens", 3, 16, {50, 128}, transformer},
      {"mmtm", 2, 16, {128, 28, 28}, mmtm, false},
      {"decoder", 2, 32, {64, 8, 8}, decoder, false},
  };
}

class Bench {
 public:
  explicit Bench(const Case& one) : case_(one) {
    torch::manual_seed(1);
    FusionShape shape;
    shape.outputs = kClasses;
    for (size_t m = 0; m < one.modalities; ++m) {
      shape.modalities.push_back(fmt::format("m{}", m));
      // A token's size is in its last place, a map's in its first.
      shape.feature_sizes.push_back(one.feature.size() == 3 ? one.feature[0] : one.feature.back());
      constexpr std::array kKinds{FeatureKind::kVector, FeatureKind::kTokens, FeatureKind::kMap};
      shape.feature_kinds.push_back(kKinds.at(one.feature.size() - 1));
      std::vector<int64_t> sizes{one.batch};
      sizes.insert(sizes.end(), one.feature.begin(), one.feature.end());
      model_->add_encoder(shape.modalities.back(), Feature(sizes));
    }
    fusion_ = one.make(shape);
    model_->set_fusion(fusion_);
    initialise(*fusion_, 0);
    inputs_.assign(one.modalities, torch::zeros({one.batch, 1}));
  }

  double fused() { return routed({0.0, 1.0, 0.0, 0.0}); }
  double ours() { return routed(GradientRoute::dgl(kAlpha)); }

  double naive() {
    const ModalityTensors features = encoded();
    ModalityTensors cut;
    for (const torch::Tensor& feature : features) {
      cut.push_back(feature.detach());
    }
    const torch::Tensor loss = loss_of(fusion_->forward(cut));
    for (size_t m = 0; m < features.size(); ++m) {
      ModalityTensors alone(features.size());
      alone[m] = features[m];
      (kAlpha * loss_of(fusion_->forward(alone))).backward();
    }
    for (torch::Tensor& parameter : fusion_->parameters()) {
      parameter.mutable_grad() = torch::Tensor();
    }
    loss.backward();
    return finish();
  }

  /// Row m * B + b is sample b with modality m alone.
  double batched() {
    const auto modalities = static_cast<int64_t>(case_.modalities);
    const ModalityTensors features = encoded();
    ModalityTensors stacked;
    torch::Tensor mask = torch::zeros({modalities * case_.batch, modalities}, torch::kBool);
    for (int64_t m = 0; m < modalities; ++m) {
      const torch::Tensor& own = features[static_cast<size_t>(m)];
      std::vector<torch::Tensor> blocks(case_.modalities, torch::zeros_like(own));
      blocks[static_cast<size_t>(m)] = own;
      stacked.push_back(torch::cat(blocks));
      mask.narrow(0, m * case_.batch, case_.batch).select(1, m).fill_(true);
    }
    for (torch::Tensor& parameter : fusion_->parameters()) {
      parameter.set_requires_grad(false);
    }
    (kAlpha * static_cast<double>(modalities) * loss_of(fusion_->forward(stacked, Presence(mask))))
        .backward();
    for (torch::Tensor& parameter : fusion_->parameters()) {
      parameter.set_requires_grad(true);
    }
    return routed({0.0, 1.0, 0.0, 0.0});
  }

 private:
  ModalityTensors encoded() {
    ModalityTensors features;
    for (size_t m = 0; m < case_.modalities; ++m) {
      features.push_back(model_->encode(m, inputs_[m]));
    }
    return features;
  }

  static torch::Tensor loss_of(const torch::Tensor& output) {
    std::vector<int64_t> sizes = output.sizes().vec();
    sizes.erase(sizes.begin() + 1);
    return torch::cross_entropy_loss(output, torch::ones(sizes, torch::kLong));
  }

  double routed(const GradientRoute& route) {
    routed_backward(*model_, inputs_, loss_of, route);
    return finish();
  }

  /// The norm of all gradients, to compare variants by.
  double finish() {
    double squares = 0;
    for (torch::Tensor& parameter : model_->parameters()) {
      if (parameter.grad().defined()) {
        squares += parameter.grad().square().sum().item<double>();
        parameter.mutable_grad() = torch::Tensor();
      }
    }
    return std::sqrt(squares);
  }

  Case case_;
  MultimodalModel model_;
  std::shared_ptr<Fusion> fusion_;
  ModalityTensors inputs_;
};

double processor_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return (values[(values.size() - 1) / 2] + values[values.size() / 2]) / 2;
}

void compare(const Case& one, int rounds) {
  Bench bench(one);
  std::vector<std::function<double()>> variants{
      [&] { return bench.fused(); }, [&] { return bench.naive(); }, [&] { return bench.ours(); }};
  if (one.stackable) {
    variants.emplace_back([&] { return bench.batched(); });
  }
  std::vector<std::vector<double>> seconds(variants.size());
  std::vector<double> norms(variants.size());
  for (int round = -1; round < rounds; ++round) {  // the first one warms up
    for (size_t i = 0; i < variants.size(); ++i) {
      const double start = processor_seconds();
      norms[i] = variants[i]();
      if (round >= 0) {
        seconds[i].push_back(processor_seconds() - start);
      }
    }
  }
  const auto ratio = [&](size_t over, size_t under) {
    std::vector<double> ratios;
    for (size_t round = 0; round < seconds[over].size(); ++round) {
      ratios.push_back(seconds[over][round] / seconds[under][round]);
    }
    return median(ratios);
  };
  std::string line =
      fmt::format("{:<24}{:>3}{:>6}  {:>8.2f}{:>8.2f}{:>8.2f}  {:>6.2f}{:>6.2f}", one.name,
                  one.modalities, one.batch, 1e3 * median(seconds[0]), 1e3 * median(seconds[1]),
                  1e3 * median(seconds[2]), ratio(2, 0), ratio(1, 2));
  if (one.stackable) {
    line += fmt::format("{:>8.2f}{:>6.2f}", 1e3 * median(seconds[3]), ratio(3, 2));
  }
  std::cout << line << std::endl;
  for (size_t i = 1; i < norms.size(); ++i) {
    if (!(std::abs(norms[i] - norms[2]) <= 1e-3 * norms[2])) {
      throw std::runtime_error(
          fmt::format("{}: variant {} computed other gradients, of norm {} instead of {}", one.name,
                      i, norms[i], norms[2]));
    }
  }
}

int run(int argc, char** argv) {
  CLI::App app("The M + 1 passes of a DGL step through the fusion module");
  int rounds = 15;
  std::string only;
  app.add_option("--rounds", rounds, "How often the variants take turns")
      ->check(CLI::Range(1, 1000));
  app.add_option("--only", only, "Fusions whose names begin so");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& problem) {
    return app.exit(problem) == 0 ? 0 : 2;
  }
  at::set_num_threads(1);
  std::cout << fmt::format(
      "one thread; F the fused pass alone, N naive, U unbraid, B unimodal passes batched; ms\n\n"
      "{:<24}{:>3}{:>6}  {:>8}{:>8}{:>8}  {:>6}{:>6}{:>8}{:>6}\n",
      "fusion", "M", "batch", "F ms", "N ms", "U ms", "U/F", "N/U", "B ms", "B/U");
  for (const Case& one : cases()) {
    if (one.name.starts_with(only)) {
      compare(one, rounds);
    }
  }
  return 0;
}

}  // namespace
}  // namespace unbraid::bench

int main(int argc, char** argv) {
  try {
    unbraid::tune_process();
    return unbraid::bench::run(argc, argv);
  } catch (const c10::Error& problem) {
    std::cerr << "unbraid_fusion_bench: " << problem.what_without_backtrace() << "\n";
    return 1;
  } catch (const std::exception& problem) {
    std::cerr << "unbraid_fusion_bench: " << problem.what() << "\n";
    return 1;
  }
}
